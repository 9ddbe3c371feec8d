"""Convolution forward of few channels, as of images: a window's row is one run of memory, (kx, c), at any place.

The depth is a window's rows one after the other, each in PARTS slabs; nothing pads it. Runs are fetched in quads that
cover them, and shifted on their way to shared memory. Filters are packed before, map after map for each (ky, kx, c).
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import F1, clear, cuda, fetch, float32, int32, multiply, put_columns, quad, refetch, uint32
from alexdsl_cuda.gemm.pieces import corner, finish, put_rows


@kernel
def pack_filters(weight: F1, work: F1, *, MAPS: int, TOTAL: int, PACKED: int, LANES: int, ADDERS: int) -> None:
    """Filters in OHWI to the workspace as (h, w, i, o), by way of shared memory; a block turns LANES filters."""
    lines = cuda.shared.array(PACKED, float32)
    t, first = int32(cuda.threadIdx.x), int32(cuda.blockIdx.x * LANES)
    count = int32(min(LANES, MAPS - first) * TOTAL)
    for i in range(t, count, int32(ADDERS)):
        lines[i] = weight[int32(first * TOTAL + i)]
    cuda.syncthreads()
    map = int32(t % LANES)
    if first + map < MAPS:
        for k in range(int32(t // LANES), int32(TOTAL), int32(ADDERS // LANES)):
            work[int32(k * MAPS + first + map)] = lines[int32(map * TOTAL + k)]


@kernel
def run_starts(
    start, line, first, *, PIXELS: int, OUT_H: int, OUT_W: int, HEIGHT: int, WIDTH: int, CHANNELS: int, SH: int,
    SW: int, BEGIN: int, ROWS: int, A_LINES: int, A_SLOTS: int,
) -> None:  # fmt: skip
    """Where in memory the windows of a thread's pixels begin; beyond the last, the last one's."""
    for i in range(A_SLOTS):
        row = uint32(min(line + i * A_LINES, ROWS - 1))
        pixel = uint32(min(first + row, PIXELS - 1))
        ox, oy, image = int32(pixel % OUT_W), int32(pixel // OUT_W % OUT_H), int32(pixel // (OUT_H * OUT_W))
        start[i] = int32(BEGIN + ((image * HEIGHT + oy * SH) * WIDTH + ox * SW) * CHANNELS)


@kernel
def fetch_runs(
    a, skip, x: F1, start, slab, lane, *, WIDTH: int, CHANNELS: int, DH: int, DEPTH: int, PARTS: int, A_LANES: int,
    A_SLOTS: int, A_PITCH: int,
) -> None:  # fmt: skip
    """The quads that cover a slab's runs. ``skip`` says how far into shared memory a run's first quad goes."""
    ahead = int32(uint32(slab) // PARTS * (DH * WIDTH * CHANNELS) + uint32(slab) % PARTS * DEPTH)
    for i in range(A_SLOTS):
        at = int32(start[i] + ahead)
        over = int32(at & 3)
        skip[i] = int32((3 - over) * A_PITCH)
        # Every run needs all quads but the last.
        needed = lane < A_LANES - 1 or over > 4 * (A_LANES - 1) - DEPTH
        refetch(a, i, x, int32((at & -4) + 4 * lane), needed, 4, 4, 1)


@kernel
def put_runs(tile, at, stage, a, skip, *, A_LINES: int, A_SLOTS: int, A_PITCH: int) -> None:
    """The fetched quads, each down a column of shared memory, so that every run begins in row 3."""
    for i in range(A_SLOTS):
        put_columns(tile, int32(at + skip[i]), stage, int32(i * A_LINES), a, i, 4, 4, 1, A_PITCH)


@kernel
def fetch_packed(b, work: F1, start, slab, line, *, MAPS: int, DEPTH: int, B_LINES: int, B_SLOTS: int) -> None:
    """Rows of packed filters. ``start`` is -1 where a thread's maps are beyond the last."""
    for i in range(B_SLOTS):
        row = int32(line + i * B_LINES)
        fetch(b, i, work, int32(start + (slab * DEPTH + row) * MAPS), start >= 0 and row < DEPTH, 4, 4, 1)


@kernel
def forward_runs(
    x: F1, packed: F1, bias: F1, other: F1, y: F1, *, THREADS: int, RESIDENT: int, TILES: int, COLUMNS: int, ROWS: int,
    DEPTH: int, SLABS: int, OUT_COLUMNS: int, SHARED: int, STAGE: int, SUMS: int, HIGH: int, WIDE: int, A_STEP: int,
    B_STEP: int, A_LANES: int, A_SLOTS: int, A_REGISTERS: int, A_PITCH: int, A_SLAB: int, B_LANES: int, B_LINES: int,
    B_SLOTS: int, B_REGISTERS: int, B_PITCH: int,
) -> None:  # fmt: skip
    """y = EPILOGUE(conv(x) + bias): maps in NHWC, packed filters; a block makes ROWS pixels of COLUMNS maps."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    a = cuda.local.array(A_REGISTERS, float32)
    b = cuda.local.array(B_REGISTERS, float32)
    start = cuda.local.array(A_SLOTS, int32)
    skip = cuda.local.array(A_SLOTS, int32)

    t, block = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    first_row, first_column = int32(block // TILES * ROWS), int32(block % TILES * COLUMNS)
    row, column = corner(t)
    a_first, b_column = int32(3 * A_PITCH + row), int32(A_SLAB + column)
    lane, line, part = int32(t % A_LANES), int32(t // B_LANES), int32(t % B_LANES * 4)
    a_put = int32(lane * 4 * A_PITCH + t // A_LANES)
    b_put = int32(A_SLAB + line * B_PITCH + part)
    run_starts(start, int32(t // A_LANES), first_row)
    filters = int32(first_column + part)
    if filters >= OUT_COLUMNS:
        filters = int32(-1)

    clear(sums, SUMS)
    clear(a, A_REGISTERS)
    stage = int32(0)
    slab = int32(0)
    fetch_packed(b, packed, filters, slab, line)
    fetch_runs(a, skip, x, start, slab, lane)
    put_runs(tile, a_put, stage, a, skip)
    put_rows(tile, b_put, stage, b, 4, B_LINES, B_SLOTS, B_PITCH)
    cuda.syncthreads()
    slab = int32(1)
    while slab < SLABS:
        # The next slab is on its way to registers while this one is multiplied.
        fetch_packed(b, packed, filters, slab, line)
        fetch_runs(a, skip, x, start, slab, lane)
        multiply(sums, tile, a_first, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP, B_PITCH, B_STEP)
        stage = int32(STAGE - stage)
        put_runs(tile, a_put, stage, a, skip)
        put_rows(tile, b_put, stage, b, 4, B_LINES, B_SLOTS, B_PITCH)
        cuda.syncthreads()
        slab = int32(slab + 1)
    multiply(sums, tile, a_first, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP, B_PITCH, B_STEP)
    finish(sums, bias, other, y, int32(first_row + row), int32(first_column + column), 0, 0)
