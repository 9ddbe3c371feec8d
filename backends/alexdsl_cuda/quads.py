"""What flat kernels share: a thread's number, and the four neighbouring floats that it moves at once where it can."""

from __future__ import annotations

from typing import Any

from alexdsl.ir.kernels import KernelFunction, kernel
from alexdsl_cuda.dialect import cuda, uint32
from alexdsl_cuda.offer import THREADS, Args, Call, Constants

load_quad: Any = None
"""From ``alexdsl_cuda.intrinsics``, as ``store_quad`` and ``fetch`` are."""
store_quad: Any = None
fetch: Any = None

WARP = 32


@kernel
def thread():
    """This thread's number in the grid. Numbers without sign make indices that Numba need not look at twice."""
    return uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)


@kernel
def read(registers, array, at, *, SIZE):
    """SIZE floats of an array."""
    if SIZE == 4:
        load_quad(registers, array, at)
    else:
        registers[0] = array[at]


@kernel
def write(array, at, registers, *, SIZE):
    """SIZE floats to an array."""
    if SIZE == 4:
        store_quad(array, at, registers)
    else:
        array[at] = registers[0]


def size_of(*counts: int) -> int:
    """How many floats a thread moves where rows are made of so many: quads must begin at multiples of four."""
    return 1 if any(count % 4 for count in counts) else 4


def flat(function: KernelFunction, args: Args, threads: int, constants: Constants) -> Call:
    """A call of so many threads in a row, whose number is the last argument."""
    block = min(THREADS, whole_warps(threads))
    return Call(function, (*args, threads), (-(-threads // block), 1, 1), constants, (block, 1, 1))


def whole_warps(threads: int) -> int:
    """The threads of the warps that so many threads fill."""
    return -(-threads // WARP) * WARP
