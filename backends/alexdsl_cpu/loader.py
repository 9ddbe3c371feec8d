"""Compiled kernels from source: each is written once to the user's cache folder and imported from there."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from alexdsl.ir import store
from alexdsl.ir.backend import Fault, Progress, silent


def cache_folder() -> Path:
    """The folder of this machine's compiled kernels; they depend on Python, Numba, LLVM, NumPy, this backend's
    intrinsics, and the CPU with its features."""
    return store.kernel_folder(_facts())


@cache
def _facts() -> Sequence[str]:
    import llvmlite
    import llvmlite.binding as llvm
    import numba
    import numpy
    from numba.core import config

    features = llvm.get_host_cpu_features().flatten()
    files = ("intrinsics.py", "native.py", "vectors.py")
    intrinsics = "".join(Path(__file__).with_name(name).read_text() for name in files)
    versions = (platform.python_version(), numba.__version__, llvmlite.__version__, numpy.__version__)
    # NUMBA_CPU_NAME and NUMBA_CPU_FEATURES have Numba compile for another processor than this one.
    told = f"{config.CPU_NAME} {config.CPU_FEATURES}"
    return (*versions, llvm.get_host_cpu_name(), features, told, intrinsics)


def load_kernels(sources: Mapping[str, str], progress: Progress = silent) -> dict[str, Any]:
    """The compiled function of every kernel; ``progress`` hears each name before it is loaded or compiled.

    Raises Fault naming the kernel and its file where one does not compile.
    """
    folder = cache_folder()
    functions = {}
    for name, source in sources.items():
        progress(name)
        path = folder / f"{name}.py"
        store.write_once(path, source)
        try:
            functions[name] = store.import_file(f"alexdsl_kernels.{name}", path).kernel
        except Exception as error:
            raise Fault(f"kernel {name} does not compile ({path}): {error}") from error
    return functions
