"""The filters' gradient of few channels, as of images: a thread sums whole rows of windows, (kx, c), of some maps.

The depth is output pixels, DEPTH neighbours a slab. Their windows overlap: shared memory holds each row of the image
once, and so do a thread's registers. Images hold their padding, and their rows begin with quads.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import (
    F1,
    clear,
    cuda,
    fetch_on,
    float32,
    int32,
    multiply_windows,
    put_quad,
    quad,
    shift,
    uint32,
)


@kernel
def fetch_slab_maps(
    a, dy: F1, t, first, slab, *, MAPS: int, DEPTH: int, THREADS: int, A_LANES: int, A_SLOTS: int, A_QUADS: int
) -> None:
    """A slab's output pixels: their maps."""
    for i in range(A_SLOTS):
        piece = uint32(t + i * THREADS)
        inside = (i + 1) * THREADS <= A_QUADS or piece < A_QUADS
        on = int32(piece // A_LANES * MAPS + piece % A_LANES * 4)
        fetch_on(a, i, dy, int32(first + slab * (DEPTH * MAPS)), on, inside, 4)


@kernel
def fetch_slab_rows(
    b, images: F1, t, slab, *, BEGIN: int, OUT_H: int, HEIGHT: int, WIDTH: int, CHANNELS: int, SH: int, DH: int,
    DEPTH: int, PARTS: int, HOP: int, THREADS: int, SEGMENT_QUADS: int, B_SLOTS: int, B_QUADS: int,
) -> None:  # fmt: skip
    """What a slab's windows read of the image's rows."""
    line = uint32(slab) // PARTS
    row, across = uint32(line // OUT_H * HEIGHT + line % OUT_H * SH), uint32(slab) % PARTS * (DEPTH * HOP)
    at = int32(BEGIN + row * (WIDTH * CHANNELS) + across)
    for i in range(B_SLOTS):
        piece = uint32(t + i * THREADS)
        inside = (i + 1) * THREADS <= B_QUADS or piece < B_QUADS
        on = int32(piece // SEGMENT_QUADS * (DH * WIDTH * CHANNELS) + piece % SEGMENT_QUADS * 4)
        fetch_on(b, i, images, at, on, inside, 4)


@kernel
def put_slab(
    tile, stage, a, b, t, *, THREADS: int, A_SLOTS: int, A_SLAB: int, B_SLOTS: int, SEGMENT: int, SEGMENT_QUADS: int
) -> None:
    """What was fetched to shared memory; behind a slab is room for what its last pieces are more."""
    for i in range(A_SLOTS):
        put_quad(tile, int32(t * 4), stage, int32(i * THREADS * 4), a, i)
    for i in range(B_SLOTS):
        piece = uint32(t + i * THREADS)
        put_quad(
            tile, int32(A_SLAB + piece // SEGMENT_QUADS * SEGMENT + piece % SEGMENT_QUADS * 4), stage, 0, b, i
        )  # fmt: skip


@kernel
def weight_grad_windows(
    images: F1, dy: F1, dw: F1, *, THREADS: int, RESIDENT: int, ROWS: int, DEPTH: int, SPLIT: int, MAPS: int, KH: int,
    HOP: int, FIRST: int, SEGMENT: int, SHARED: int, STAGE: int, SUMS: int, HIGH: int, WIDE: int, A_STEP: int,
    A_REGISTERS: int, A_SLAB: int, B_REGISTERS: int,
) -> None:  # fmt: skip
    """dw = dy' windows(images) over the split's slabs; a block makes ROWS maps, and of them a thread HIGH, of one row
    of windows."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    a = cuda.local.array(A_REGISTERS, float32)
    b = cuda.local.array(B_REGISTERS, float32)

    t = uint32(cuda.threadIdx.x)
    first_map = int32(cuda.blockIdx.x * ROWS)
    row, ky = int32(t // KH * 4), int32(t % KH)
    line = int32(A_SLAB + ky * SEGMENT)

    clear(sums, SUMS)
    stage = int32(0)
    slab = int32(cuda.blockIdx.z * SPLIT)
    end = int32(slab + SPLIT)
    fetch_slab_maps(a, dy, t, first_map, slab)
    fetch_slab_rows(b, images, t, slab)
    put_slab(tile, stage, a, b, t)
    cuda.syncthreads()
    slab = int32(slab + 1)
    while slab < end:
        # The next slab is on its way to registers while this one is multiplied.
        fetch_slab_maps(a, dy, t, first_map, slab)
        fetch_slab_rows(b, images, t, slab)
        multiply_windows(sums, tile, row, line, stage, HIGH, WIDE, DEPTH, ROWS, A_STEP, HOP, FIRST)
        stage = int32(STAGE - stage)
        put_slab(tile, stage, a, b, t)
        cuda.syncthreads()
        slab = int32(slab + 1)
    multiply_windows(sums, tile, row, line, stage, HIGH, WIDE, DEPTH, ROWS, A_STEP, HOP, FIRST)
    begin = int32(cuda.blockIdx.z * (MAPS * KH * WIDE))
    for i in range(SUMS):
        below = i // WIDE
        map = int32(first_map + row + below // 4 * A_STEP + below % 4)
        dw[int32(begin + (map * KH + ky) * WIDE + i % WIDE)] = sums[0]
        shift(sums, 1, SUMS)
