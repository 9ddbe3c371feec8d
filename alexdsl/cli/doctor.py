"""``alexdsl doctor``: what this machine offers, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from alexdsl.cli.common import bytes_text
from alexdsl.ir.host import machine_memory

MARKS = {"ok": "ok", "missing": "--", "problem": "!!"}
FEATURES = ("avx", "avx2", "fma", "avx512f")


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """marks:
  ok   there
  --   not there, and not needed by everyone: what it would give, and how to get it
  !!   a problem; the exit code is 1

examples:
  alexdsl doctor
  alexdsl doctor --json
"""
    command.add_argument("--json", action="store_true", help="the same as JSON")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is (ok, missing, problem), what was found, and what to do."""

    what: str
    state: str
    found: str
    todo: str = ""


def run(args: argparse.Namespace) -> int:
    """Look and print; see ``arguments``."""
    looks = (_machine, _python, _packages, _blas, _kernels, _data, _cuda, _extras)
    findings = [finding for look in looks for finding in look()]
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        wide = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{MARKS[finding.state]}  {finding.what:<{wide}}  {finding.found}")
            if finding.todo:
                print(f"{'':<{wide + 4}}  -> {finding.todo}")
    return 1 if any(finding.state == "problem" for finding in findings) else 0


def _machine() -> Iterator[Finding]:
    cores, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    asked = os.environ.get("ALEXDSL_THREADS", "")
    limit = f", ALEXDSL_THREADS is {asked}" if asked else ""
    yield Finding("cores", "ok", f"{cores} of {all_cores} may be used{limit}")
    held, free = machine_memory(), _available()
    found = f"{bytes_text(held)}" + (f", {bytes_text(min(free, held))} of it free" if free else "")
    low = free is not None and free < 2e9
    todo = "AlexNet at batch 128 needs about 2 GB: use a smaller batch, --set data.batch=32" if low else ""
    yield Finding("memory", "missing" if low else "ok", found, todo)
    flags = _flags()
    if flags is None:
        yield Finding("processor", "ok", f"{platform.machine()} (its features are not listed here)")
        return
    there = [name for name in FEATURES if name in flags]
    todo = "" if "fma" in there else "kernels run, but several times slower than on a processor with AVX2 and FMA"
    yield Finding(
        "processor",
        "ok" if "fma" in there else "missing",
        f"{platform.machine()} with {', '.join(there) or 'no AVX'}",
        todo,
    )


def _available() -> int | None:
    """Bytes that are free or easily freed, or none where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _flags() -> set[str] | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    line = next((line for line in lines if line.startswith("flags")), None)
    return set(line.partition(":")[2].split()) if line else None


def _python() -> Iterator[Finding]:
    from alexdsl import __version__

    old = sys.version_info < (3, 11)
    yield Finding("alexdsl", "ok", f"{__version__} in {Path(__file__).resolve().parents[1]}")
    yield Finding(
        "python",
        "problem" if old else "ok",
        f"{platform.python_version()}",
        "alexdsl needs 3.11 or newer" if old else "",
    )


def _packages() -> Iterator[Finding]:
    for name in ("numba", "llvmlite", "numpy", "scipy"):
        version, reason = _version(name), ""
        if version is not None:
            try:
                import_module(name)
            except Exception as error:  # versions that do not fit each other fail in many ways
                reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        if version is None or reason:
            yield Finding(
                name,
                "problem",
                f"{version or 'not installed'} {reason}".strip(),
                f"pip install --force-reinstall {name}",
            )
        else:
            yield Finding(name, "ok", version)


def _version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _blas() -> Iterator[Finding]:
    try:
        import_module("scipy.linalg.cython_blas")
        pools = import_module("threadpoolctl").threadpool_info()
    except ImportError as error:
        yield Finding("BLAS", "problem", str(error), "pip install --force-reinstall scipy threadpoolctl")
        return
    for pool in pools:
        if pool["user_api"] == "blas":
            folder = Path(pool["filepath"]).parent.name
            kind = f", {pool['architecture']}" if pool.get("architecture") else ""
            name = f"{pool['internal_api']} {pool.get('version') or ''}{kind}"
            yield Finding("BLAS", "ok", f"{name} ({folder}), {pool['num_threads']} threads where others call it")
    yield Finding("threading", "ok", "alexdsl's own worker threads; each calls BLAS single-threaded, tile by tile")


def _kernels() -> Iterator[Finding]:
    try:
        folder: Path = import_module("alexdsl_cpu.loader").cache_folder()
    except (ImportError, OSError) as error:
        where = os.environ.get("ALEXDSL_CACHE") or "~/.cache/alexdsl"
        yield Finding(
            "kernel cache", "problem", f"{where}: {error}", "set ALEXDSL_CACHE to a folder that can be written"
        )
        return
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    count, size = sum(path.suffix == ".py" for path in files), sum(path.stat().st_size for path in files)
    if not os.access(folder, os.W_OK):
        yield Finding(
            "kernel cache", "problem", f"{folder} cannot be written", "set ALEXDSL_CACHE to a folder that can be"
        )
        return
    found = f"{folder.parent}: {count} kernels, {bytes_text(size)}; it may be removed at any time"
    yield Finding("kernel cache", "ok", found)


def _data() -> Iterator[Finding]:
    from alexdsl.data.sources import SAMPLES

    samples = sorted(path.stem for path in SAMPLES.glob("*.npz"))
    if samples:
        yield Finding("sample images", "ok", f"{', '.join(samples)} in {SAMPLES}")
    else:
        yield Finding(
            "sample images", "problem", f"none in {SAMPLES}", "install alexdsl anew: pip install --force-reinstall ."
        )
    folder = os.environ.get("IMAGENET", "")
    todo = "IMAGENET=/path/to/folders-of-classes alexdsl run specs/alexnet.net"
    if not folder:
        yield Finding("ImageNet", "missing", "IMAGENET is not set; specs that ask for it take the sample", todo)
        return
    from alexdsl.data.errors import DataError
    from alexdsl.data.folder import class_folders, parts

    try:
        train, held_out = parts(folder)
        count = len(class_folders(Path(train).expanduser()))
        held = f"held-out images in {held_out}" if held_out else "no folder of held-out images"
        yield Finding("ImageNet", "ok", f"{train}: {count:,} classes, {held}")
    except (DataError, OSError) as error:
        yield Finding("ImageNet", "problem", f"IMAGENET={folder}: {error}", todo)


def _cuda() -> Iterator[Finding]:
    from alexdsl.ir.backend import Unavailable

    probe = import_module("alexdsl_cuda.probe")
    driver = probe.driver_version()
    shown = "none" if driver is None else f"for CUDA {driver[0]}.{driver[1]}"
    try:
        gpus = probe.gpus()
        names = ", ".join(f"{gpu.name} ({bytes_text(gpu.memory)})" for gpu in gpus)
        yield Finding("CUDA driver", "ok", f"{shown}: {names}")
    except Unavailable as error:
        gpus = ()
        todo = "on a machine with an NVIDIA GPU: install NVIDIA's driver"
        advice = str(error).partition(": ")[2]
        yield Finding("CUDA driver", "missing", f"{shown}, so nets run on the CPU", advice if driver else todo)
    tools = {"kernels for GPUs": ("numba-cuda",), "their machine code": ("nvidia-cuda-nvcc", "nvidia-cuda-nvdisasm")}
    for what, packages in tools.items():
        versions = {name: _version(name) for name in packages}
        lacking = [name for name, version in versions.items() if version is None]
        if lacking:
            todo = "pip install 'alexdsl[cuda]'" + ("" if gpus else ", to read them and run them in the emulator")
            yield Finding(what, "missing", f"without {', '.join(lacking)}", todo)
        else:
            yield Finding(what, "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _extras() -> Iterator[Finding]:
    for extra, needed in (("test", ("pytest", "hypothesis", "pytest-xdist")), ("dev", ("ruff", "mypy"))):
        lacking = [name for name in needed if _version(name) is None]
        todo = f"to work on alexdsl itself: pip install 'alexdsl[{extra}]'" if lacking else ""
        found = f"without {', '.join(lacking)}" if lacking else ", ".join(f"{name} {_version(name)}" for name in needed)
        yield Finding(f"extra '{extra}'", "missing" if lacking else "ok", found, todo)
