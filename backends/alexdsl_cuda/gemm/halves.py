"""Copies of operands in bf16, rounded to nearest even, that tensor cores multiply: as they lie, or filters turned.

A float of the workspace holds two of them. A chunk is 16 bytes, eight of them: four floats.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import F1, cuda, fetch, float32, halve, shift, store_pair, store_quad, uint32

HALVERS = 256
"""Threads of a block of these kernels."""
SIDE = 64
"""Maps and channels of a tile of filters that a block turns."""
PITCH = SIDE + 1
"""Floats of a row of the tile: no two threads of a warp read one bank."""


@kernel
def halves(x: F1, work: F1, *, FIRST: int, COUNT: int, HALVERS: int) -> None:
    """work[FIRST...] = x in bf16; a thread two quads, so that a warp's neighbours read and write what lies together."""
    numbers = cuda.local.array(8, float32)
    at = uint32(4 * (2 * HALVERS * cuda.blockIdx.x + cuda.threadIdx.x))
    behind = uint32(at + 4 * HALVERS)
    fetch(numbers, 0, x, at, at < COUNT, 4, 4, 1)
    fetch(numbers, 1, x, behind, behind < COUNT, 4, 4, 1)
    halve(numbers)
    if at < COUNT:
        store_pair(work, uint32(FIRST + at // 2), numbers)
    shift(numbers, 2, 4)
    if behind < COUNT:
        store_pair(work, uint32(FIRST + behind // 2), numbers)


@kernel
def turned_halves(
    weight: F1, work: F1, *, FIRST: int, TAPS: int, INPUTS: int, OUTPUTS: int, ACROSS: int, HALVERS: int, SIDE: int,
    PITCH: int, SHARED: int,
) -> None:  # fmt: skip
    """Filters (o, tap, c) in bf16 to the workspace as (c, tap, o), the taps in reverse; blocks are tiles of (o, c) by
    taps by groups."""
    tile = cuda.shared.array(SHARED, float32)
    numbers = cuda.local.array(8, float32)
    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    tap, group = uint32(cuda.blockIdx.y), uint32(cuda.blockIdx.z)
    first_map, first_channel = uint32(block // ACROSS * SIDE), uint32(block % ACROSS * SIDE)
    i = t
    while i < uint32(SIDE * SIDE):
        map, channel = uint32(first_map + i // SIDE), uint32(first_channel + i % SIDE)
        if map < OUTPUTS and channel < INPUTS:
            at = uint32(((group * OUTPUTS + map) * TAPS + tap) * INPUTS + channel)
            tile[uint32(i // SIDE * PITCH + i % SIDE)] = weight[at]
        i = uint32(i + HALVERS)
    cuda.syncthreads()
    # Of a warp four neighbours write 64 bytes of a channel's maps.
    i = t
    while i < uint32(SIDE * SIDE // 8):
        below, beside = uint32(i // 32 % 2 * 32 + i % 4 * 8), uint32(i // 64 * 8 + i // 4 % 8)
        map, channel = uint32(first_map + below), uint32(first_channel + beside)
        if map < OUTPUTS and channel < INPUTS:
            for j in range(8):
                numbers[j] = tile[uint32((below + j) * PITCH + beside)]
            halve(numbers)
            at = uint32(((group * INPUTS + channel) * TAPS + TAPS - 1 - tap) * OUTPUTS + map)
            store_quad(work, uint32(FIRST + at // 2), numbers)
        i = uint32(i + HALVERS)
