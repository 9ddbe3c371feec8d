"""Imports point one way, the compiler needs no compiler of kernels, and a wheel holds nothing but our packages."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "files": set(),
    "language": {"files"},
    "ir": {"files"},
    "layers": {"ir"},
    "solvers": {"ir"},
    "passes": {"ir", "language"},
    "registry": {"ir", "layers", "solvers"},
    "devices": {"ir", "registry"},
    "data": {"files", "ir", "language", "passes"},
    "spec": {"ir", "language", "passes", "registry", "data"},
    "fitting": {"ir", "passes", "spec"},
    "tuning": {"ir", "passes"},
    "program": {"ir", "language", "passes", "registry", "data", "spec", "tuning"},
    "compare": {"ir", "layers", "data", "spec", "program"},
    "train": {"files", "ir", "language", "passes", "registry", "data", "spec", "program"},
    "sweep": {"language", "data", "spec", "train"},
    "cli": {
        "files",
        "ir",
        "language",
        "passes",
        "registry",
        "devices",
        "data",
        "spec",
        "fitting",
        "tuning",
        "program",
        "compare",
        "train",
        "sweep",
        "layers",
        "solvers",
    },
    "__init__": {"language", "spec", "program"},
}
"""For each part of alexdsl the other parts that it may know; every list is made of parts above it."""
KERNEL_COMPILERS = {"numba", "llvmlite", "numba_cuda", "alexdsl_cpu", "alexdsl_cuda"}
OFFERS = {
    "alexdsl_cpu": {"intrinsics", "launches", "native", "vectors", "loader", "runtime", "workers"},
    "alexdsl_cuda": {"intrinsics", "simulator", "gpu", "emulated", "checked", "emulator"},
}
"""The modules of each backend that may import a compiler of kernels; all others are plain Python."""


def _modules(package: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(package.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a module imports, anywhere in it; relative imports are not used here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_import(tree: ast.Module) -> Iterator[str]:
    """What importing the module imports: not what its functions do when called, nor what type checkers read."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(ast.Module([node], []))


def _part(path: Path) -> str:
    return path.relative_to(ROOT / "alexdsl").parts[0].removesuffix(".py")


def test_parts_import_only_what_lies_below_them() -> None:
    wrong = []
    for path, tree in _modules(ROOT / "alexdsl"):
        part = _part(path)
        assert part in MAY_IMPORT, f"{path} belongs to no part: say in this test what it may import"
        for name in _imports(tree):
            head, _, rest = name.partition(".")
            other = rest.split(".")[0]
            public = f"{other}.py" if (ROOT / "alexdsl" / f"{other}.py").exists() else other
            is_part = (ROOT / "alexdsl" / public).exists()
            if head == "alexdsl" and is_part and other and other not in {part, *MAY_IMPORT[part]}:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_the_order_of_parts_has_no_cycle() -> None:
    seen: set[str] = set()
    for part, below in MAY_IMPORT.items():
        assert below <= seen or part == "__init__"
        seen.add(part)


def test_nothing_in_the_compiler_imports_a_compiler_of_kernels() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, tree in _modules(ROOT / "alexdsl")
        for name in _imports(tree)
        if name.split(".")[0] in KERNEL_COMPILERS and path.name != "doctor.py"
    ]
    assert not wrong


def test_offers_import_no_compiler_of_kernels() -> None:
    wrong = []
    for package, compiled in OFFERS.items():
        own = {f"{package}.{module}" for module in compiled}
        for path, tree in _modules(ROOT / "backends" / package):
            for name in _at_import(tree):
                heavy = name.split(".")[0] in {"numba", "llvmlite", "numba_cuda", "cuda", "scipy"} or any(
                    name.startswith(m) for m in own
                )
                if heavy and path.relative_to(ROOT / "backends" / package).parts[0].removesuffix(".py") not in compiled:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def _loaded_by(code: str, *names: str) -> set[str]:
    """Which of these modules a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint([n for n in {names!r} if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return set(ast.literal_eval(out.splitlines()[-1]))


@pytest.mark.skipif(find_spec("alexdsl.cli") is None, reason="there is no command line yet")
def test_the_command_line_starts_without_numba() -> None:
    assert not _loaded_by("import alexdsl.cli", "numba", "llvmlite", "scipy", "lark", "numpy")


def test_compiling_up_to_the_schedule_needs_no_numba() -> None:
    code = """from alexdsl.registry import backend, registry
for name in ('cpu', 'cuda'):
    backend(name).offer([registry()['relu']])"""
    assert not _loaded_by(code, "numba", "llvmlite", "numba_cuda", "scipy")


def test_the_wheel_names_only_our_packages() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert [Path(name).name for name in wheel["packages"]] == ["alexdsl", "alexdsl_cpu", "alexdsl_cuda"]
    assert all(target.startswith("alexdsl/") for target in wheel.get("force-include", {}).values())
    for point in settings["project"]["entry-points"]["alexdsl.backends"].values():
        module, name = point.split(":")
        assert callable(getattr(import_module(module), name))


@pytest.mark.slow
def test_a_built_wheel_holds_only_our_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"alexdsl", "alexdsl_cpu", "alexdsl_cuda"}
    assert "alexdsl/specs/alexnet.net" in names
