"""Sums on CUDA in a fixed order: a block adds by halves what its threads found, so that runs agree bit for bit."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.dialect import F1, cuda, float32, uint32
from alexdsl_cuda.offer import THREADS, Call
from alexdsl_cuda.quads import WARP


@kernel
def sum_of_block(parts, t, *, THREADS):
    """The sum of the parts that a block's threads left in shared memory. The parts are lost."""
    cuda.syncthreads()
    half = uint32(THREADS // 2)
    while half > 0:
        if t < half:
            parts[t] += parts[uint32(t + half)]
        cuda.syncthreads()
        half = uint32(half // 2)
    return parts[0]


@kernel
def mean_of(numbers: F1, y: F1, *, COUNT, THREADS) -> None:
    """y = the mean of COUNT numbers, by one block."""
    parts = cuda.shared.array(THREADS, float32)
    t = uint32(cuda.threadIdx.x)
    total, i = float32(0.0), t
    while i < COUNT:
        total += numbers[i]
        i = uint32(i + THREADS)
    parts[t] = total
    total = sum_of_block(parts, t)
    if t == 0:
        y[0] = total / float32(COUNT)


def mean_call(numbers: str, y: str, count: int) -> Call:
    """The call that takes the mean of so many numbers."""
    threads = halving(count)
    return Call(mean_of, (numbers, y), (1, 1, 1), {"COUNT": count, "THREADS": threads}, (threads, 1, 1))


def halving(count: int) -> int:
    """The threads of a block that goes over so many numbers and adds by halves: a power of two."""
    return min(THREADS, max(WARP, 1 << (count - 1).bit_length()))
