"""The device ``sim``: kernels run as Python by Numba's simulator, a host thread for each of theirs. For toy sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda
from numba.core import config

from alexdsl.ir import store
from alexdsl.ir.protocol import Array
from alexdsl_cuda.compiler import cache_folder
from alexdsl_cuda.driver import Argument, Prepared, Span, Stream
from alexdsl_cuda.memory_driver import MemoryDriver

DTYPES = {"F1": np.float32, "U1": np.uint8, "I1": np.int32, "L1": np.int64}


@dataclass(frozen=True)
class _Launch:
    kernel: Any
    args: tuple[Any, ...]


class Simulator(MemoryDriver):
    """Runs kernels in Numba's simulator. Raises RuntimeError where Numba was imported without it."""

    def __init__(self) -> None:
        super().__init__()
        if not config.ENABLE_CUDASIM:
            raise RuntimeError("the simulator needs NUMBA_ENABLE_CUDASIM=1 in the environment before Numba is imported")

    def prepare(
        self, device: str, kernel: str, source: str, grid: tuple[int, int, int], block: tuple[int, int, int],
        args: Sequence[Argument],
    ) -> Prepared:  # fmt: skip
        path = cache_folder() / f"{kernel}.py"
        store.write_once(path, source)
        jitted: Any = cuda.jit(store.import_file(f"alexdsl_simulated.{kernel}", path).kernel)
        return _Launch(jitted[grid, block], tuple(_value(arg) for arg in args))

    def launch(self, stream: Stream, prepared: Prepared) -> None:
        prepared.kernel(*prepared.args)


def _value(arg: Argument) -> Array | np.float32 | np.int32:
    """An argument as kernels get it: arrays are views of the imagined device's memory."""
    if isinstance(arg, Span):
        dtype: np.dtype[Any] = np.dtype(DTYPES[arg.annotation])
        raw: Any = (ctypes.c_uint8 * (arg.count * dtype.itemsize)).from_address(arg.address)
        array: Array = np.frombuffer(raw, dtype)
        return array
    return np.float32(arg) if isinstance(arg, float) else np.int32(arg)
