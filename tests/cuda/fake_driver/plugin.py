"""For pytest, with the stand-in driver in the library path: kernels that it is given run in the emulator."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from alexdsl_cuda import emulator, gpu
from alexdsl_cuda.compiler import compile_ptx
from alexdsl_cuda.emulated import CAPABILITY

_ASSEMBLE = gpu.assemble
_Load = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_Launch = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p, ctypes.c_size_t
)
_modules: dict[str, emulator.Module] = {}
_loaded: dict[int, emulator.Module] = {}
_assembled: list[str] = []


def _assemble(source: str, capability: tuple[int, int]) -> bytes:
    """The real machine code, whose source is remembered until it is loaded."""
    _assembled[:] = [source]
    return _ASSEMBLE(source, capability)


@_Load
def _load(module: int, image: int) -> None:
    (source,) = _assembled
    if source not in _modules:
        _modules[source] = emulator.Module(compile_ptx(source, CAPABILITY))
    _loaded[module] = _modules[source]


@_Launch
def _launch(function: int, sizes: Any, packed: int, size: int) -> int:
    try:
        grid, block = (sizes[0], sizes[1], sizes[2]), (sizes[3], sizes[4], sizes[5])
        emulator.launch(_loaded[function], "kernel", grid, block, ctypes.string_at(packed, size))
    except Exception as error:
        print(f"{function:#x}: {error}", file=sys.stderr)
        return 1
    return 0


gpu.assemble = _assemble
ctypes.CDLL("libcuda.so.1").fake_driver_set(ctypes.cast(_load, ctypes.c_void_p), ctypes.cast(_launch, ctypes.c_void_p))
