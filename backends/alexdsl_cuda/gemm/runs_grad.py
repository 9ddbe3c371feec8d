"""The filters' gradient where windows' rows are runs of memory, as in an image: rows are maps, columns (ky, kx, c).

The depth is output pixels, DEPTH neighbours a slab. Their windows overlap, so that shared memory holds each row of the
image once, and a window of the next pixel begins HOP floats further. Each row of windows has room for RUN_QUADS quads;
what the last quad holds beyond the window is multiplied, too, and never stored.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import (
    F1,
    clear,
    cuda,
    fetch,
    float32,
    int32,
    multiply,
    put_columns,
    quad,
    refetch,
    shift,
    uint32,
)
from alexdsl_cuda.gemm.pieces import put_rows


@kernel
def fetch_dy(a, dy: F1, maps, slab, line, *, MAPS: int, DEPTH: int, A_LINES: int, A_SLOTS: int) -> None:
    """Rows of a slab's output pixels: their maps."""
    for i in range(A_SLOTS):
        row = int32(line + i * A_LINES)
        fetch(a, i, dy, int32(maps + (slab * DEPTH + row) * MAPS), row < DEPTH, 4, 4, 1)


@kernel
def fetch_rows(
    b, skip, x: F1, t, first, slab, *, OUT_H: int, HEIGHT: int, WIDTH: int, CHANNELS: int, KH: int, SH: int, DH: int,
    DEPTH: int, PARTS: int, HOP: int, NEEDED: int, THREADS: int, SEGMENT_QUADS: int, B_SLOTS: int,
) -> None:  # fmt: skip
    """The quads that cover a slab's part of the image's rows. ``skip`` is how far a row's first float lies in its
    first quad."""
    line = uint32(slab) // PARTS
    row, across = uint32(line // OUT_H * HEIGHT + line % OUT_H * SH), uint32(slab) % PARTS * (DEPTH * HOP)
    for i in range(B_SLOTS):
        piece = uint32(t + i * THREADS)
        ky = min(int32(first + piece // SEGMENT_QUADS), int32(KH - 1))
        at = int32((row + ky * DH) * (WIDTH * CHANNELS) + across)
        over = int32(at & 3)
        ahead = int32(piece % SEGMENT_QUADS * 4)
        skip[i] = over
        refetch(b, i, x, int32((at & -4) + ahead), ahead < over + NEEDED, 4, 4, 1)


@kernel
def put_segments(
    tile, stage, b, skip, t, *, THREADS: int, SEGMENT: int, SEGMENT_QUADS: int, WINDOW_ROWS: int, A_SLAB: int,
    B_SLOTS: int,
) -> None:  # fmt: skip
    """The fetched quads to the rows' segments, so that each begins at float 4."""
    for i in range(B_SLOTS):
        piece = uint32(t + i * THREADS)
        ky, q = uint32(piece // SEGMENT_QUADS), uint32(piece % SEGMENT_QUADS)
        if ky < WINDOW_ROWS:
            put_columns(tile, int32(A_SLAB + ky * SEGMENT + 4 + q * 4 - skip[i]), stage, 0, b, i, 4, 4, 1, 1)


@kernel
def weight_grad_runs(
    x: F1, dy: F1, dw: F1, *, THREADS: int, RESIDENT: int, TILES: int, ROWS: int, DEPTH: int, SLABS: int, SPLIT: int,
    MAPS: int, CHANNELS: int, KH: int, KW: int, HOP: int, RUN_QUADS: int, WINDOW_ROWS: int, SEGMENT: int, SHARED: int,
    STAGE: int, SUMS: int, HIGH: int, WIDE: int, A_STEP: int, B_STEP: int, A_LANES: int, A_LINES: int, A_SLOTS: int,
    A_REGISTERS: int, A_PITCH: int, A_SLAB: int, B_SLOTS: int, B_REGISTERS: int,
) -> None:  # fmt: skip
    """dw = dy' windows(x) over the split's slabs; a block makes ROWS maps of WINDOW_ROWS rows of windows."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    a = cuda.local.array(A_REGISTERS, float32)
    b = cuda.local.array(B_REGISTERS, float32)
    skip = cuda.local.array(B_SLOTS, int32)

    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    first_map, first_ky = int32(block // TILES * ROWS), int32(block % TILES * WINDOW_ROWS)
    # A thread's second quads are half of the block's rows of windows further.
    across = uint32(RUN_QUADS * WINDOW_ROWS // 2)
    row, beside = int32(t // across * 4), uint32(t % across)
    ky, kx = int32(beside // RUN_QUADS), int32(beside % RUN_QUADS * 4)
    b_first = int32(A_SLAB + ky * SEGMENT + 4 + kx)
    line, part = int32(t // A_LANES), int32(t % A_LANES * 4)
    a_put = int32(line * A_PITCH + part)
    maps = int32(first_map + part)

    clear(sums, SUMS)
    clear(b, B_REGISTERS)
    stage = int32(0)
    slab = int32(cuda.blockIdx.z * SPLIT)
    end = int32(min(slab + SPLIT, SLABS))
    fetch_dy(a, dy, maps, slab, line)
    fetch_rows(b, skip, x, t, first_ky, slab)
    put_rows(tile, a_put, stage, a, 4, A_LINES, A_SLOTS, A_PITCH)
    put_segments(tile, stage, b, skip, t)
    cuda.syncthreads()
    slab = int32(slab + 1)
    while slab < end:
        # The next slab is on its way to registers while this one is multiplied.
        fetch_dy(a, dy, maps, slab, line)
        fetch_rows(b, skip, x, t, first_ky, slab)
        multiply(sums, tile, row, b_first, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP, HOP, B_STEP)
        stage = int32(STAGE - stage)
        put_rows(tile, a_put, stage, a, 4, A_LINES, A_SLOTS, A_PITCH)
        put_segments(tile, stage, b, skip, t)
        cuda.syncthreads()
        slab = int32(slab + 1)
    multiply(sums, tile, row, b_first, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP, HOP, B_STEP)
    begin = int32(cuda.blockIdx.z * (MAPS * KH * KW * CHANNELS))
    for i in range(SUMS):
        below, j = i // WIDE, i % WIDE
        map = int32(first_map + row + below // 4 * A_STEP + below % 4)
        y = int32(first_ky + ky + j // 4 * (WINDOW_ROWS // 2))
        c = int32(kx + j % 4)
        if y < KH and c < KW * CHANNELS:
            dw[int32(begin + (map * KH + y) * (KW * CHANNELS) + c)] = sums[0]
        shift(sums, 1, SUMS)
