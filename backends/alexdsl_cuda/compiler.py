"""Compiles kernels' sources to PTX and on to machine code, on a machine without a GPU too; kept in the user's cache."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alexdsl.ir import store
from alexdsl.ir.backend import Fault, Unavailable
from alexdsl.ir.kernels import fingerprint

_ENTRY = re.compile(r"\.visible \.entry (\w+)\(")
MISSING = "kernels for GPUs are compiled by numba-cuda, which is not installed: pip install 'alexdsl[cuda]'"


def cache_folder() -> Path:
    """The folder of kernels for GPUs; they depend on Python, numba-cuda, NVIDIA's compilers, our
    intrinsics and how the compiler is called."""
    return store.kernel_folder(_facts())


@cache
def _facts() -> Sequence[str]:
    found = []
    for package in ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink"):
        try:
            found.append(version(package))
        except PackageNotFoundError:
            found.append("none")
    here = Path(__file__)
    ours = (path.read_text() for path in (here, *sorted(here.with_name("intrinsics").glob("*.py"))))
    return ("cuda", platform.python_version(), *found, *ours)


def compile_ptx(source: str, capability: tuple[int, int]) -> str:
    """The kernel of a rendered source as PTX for a processor such as (8, 0); its entry is called ``kernel``.

    Denormals, division and NaN are as IEEE has them; multiply-adds are contracted. Raises Unavailable without
    numba-cuda, Fault naming the file where the kernel does not compile.
    """
    name = f"kernel_{fingerprint(source)}"
    folder = cache_folder()
    path, made = folder / f"{name}.py", folder / f"{name}.sm_{capability[0]}{capability[1]}.ptx"
    if made.exists():
        return made.read_text(encoding="utf-8")
    store.write_once(path, source)
    ptx = _compiled(name, path, capability)
    store.write_once(made, ptx)
    return ptx


def _compiled(name: str, path: Path, capability: tuple[int, int]) -> str:
    try:
        version("numba-cuda")
    except PackageNotFoundError as error:
        raise Unavailable(MISSING) from error
    from numba import cuda

    compiler: Any = cuda.compile_ptx
    try:
        module = store.import_file(f"alexdsl_kernels.{name}", path)
        # Where a kernel says how many of its blocks a multiprocessor should hold, they share its registers.
        bounds = (module.THREADS, module.RESIDENT) if hasattr(module, "RESIDENT") else None
        ptx, _ = compiler(module.kernel, module.SIGNATURE, cc=capability, launch_bounds=bounds)
    except Exception as error:
        raise Fault(f"the kernel does not compile ({path}): {error}") from error
    found = _ENTRY.search(ptx)
    if found is None:
        raise Fault(f"the compiled kernel has no entry ({path})")
    # Numba's name differs from process to process and is in every line.
    return str(ptx.replace(found.group(1), "kernel"))


def assemble(source: str, capability: tuple[int, int]) -> bytes:
    """The kernel of a rendered source as machine code. Raises as ``compile_ptx`` does."""
    made = cache_folder() / f"kernel_{fingerprint(source)}.sm_{capability[0]}{capability[1]}.cubin"
    if made.exists():
        return made.read_bytes()
    ptx = compile_ptx(source, capability).encode()
    from cuda.bindings import nvjitlink

    handle = nvjitlink.create(2, [f"-arch=sm_{capability[0]}{capability[1]}", "-O3"])
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, ptx, len(ptx), "kernel")
        nvjitlink.complete(handle)
        code = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, code)
    finally:
        nvjitlink.destroy(handle)
    store.write_once(made, bytes(code))
    return bytes(code)
