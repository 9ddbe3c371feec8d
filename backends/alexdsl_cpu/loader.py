"""Compiled kernels from source: each is written once to the user's cache folder and imported from there."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from alexdsl.ir.backend import Progress, silent


def cache_folder() -> Path:
    """The folder of this machine's compiled kernels, made private to the user (mode 0700).

    It is named by all that compiled code depends on beside its source: Python, Numba, LLVM, NumPy, this backend's
    intrinsics, and the CPU with its features. ``ALEXDSL_CACHE`` moves it.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    base = os.environ.get("ALEXDSL_CACHE") or Path(caches) / "alexdsl"
    folder = Path(base) / "kernels" / _machine()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


@cache
def _machine() -> str:
    import llvmlite
    import llvmlite.binding as llvm
    import numba
    import numpy

    features = llvm.get_host_cpu_features().flatten()
    intrinsics = Path(__file__).with_name("intrinsics.py").read_text()
    versions = (platform.python_version(), numba.__version__, llvmlite.__version__, numpy.__version__)
    facts = "\n".join((*versions, llvm.get_host_cpu_name(), features, intrinsics))
    return blake2b(facts.encode(), digest_size=6).hexdigest()


def load_kernels(sources: Mapping[str, str], progress: Progress = silent) -> dict[str, Any]:
    """The compiled function of every kernel; ``progress`` hears each name before it is loaded or compiled.

    Raises RuntimeError naming the kernel and its file where one does not compile.
    """
    folder = cache_folder()
    functions = {}
    for name, source in sources.items():
        progress(name)
        path = folder / f"{name}.py"
        _write_once(path, source)
        try:
            functions[name] = _import(f"alexdsl_kernels.{name}", path).kernel
        except Exception as error:
            raise RuntimeError(f"kernel {name} does not compile ({path}): {error}") from error
    return functions


def _write_once(path: Path, source: str) -> None:
    """A file that is there is whole: it appears under its name in one step."""
    if path.exists() and path.read_text() == source:
        return
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(source)
    scratch.replace(path)


def _import(name: str, path: Path) -> Any:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
