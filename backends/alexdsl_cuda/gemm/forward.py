"""Convolution forward as a product: rows are output pixels, columns are maps, the depth is a window (ky, kx, c).

A linear layer is the convolution of images of one pixel by windows of one pixel.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import F1, clear, cuda, fetch, float32, int32, multiply, quad, refetch, uint32
from alexdsl_cuda.gemm.pieces import corner, fetch_lines, finish, line_starts, put_lines, row_of, tap_of


@kernel
def window_starts(
    start, top, left, t, first, channel, *, PIXELS: int, OUT_H: int, OUT_W: int, HEIGHT: int, WIDTH: int,
    CHANNELS: int, SH: int, SW: int, TOP: int, LEFT: int, ROWS: int, A_LANES: int, A_LINES: int, A_SLOTS: int,
) -> None:  # fmt: skip
    """Where the windows of a thread's pixels begin: in memory, in the image's rows, in its columns."""
    for i in range(A_SLOTS):
        row = uint32(t // A_LANES + i * A_LINES)
        pixel = uint32(first + row)
        ox, oy, image = int32(pixel % OUT_W), int32(pixel // OUT_W % OUT_H), int32(pixel // (OUT_H * OUT_W))
        left[i] = int32(ox * SW - LEFT)
        # Far above the image, if there is no such pixel: nothing of its window is fetched.
        top[i] = int32(oy * SH - TOP) if row < ROWS and pixel < PIXELS else int32(-(1 << 30))
        start[i] = int32(((image * HEIGHT + oy * SH - TOP) * WIDTH + left[i]) * CHANNELS + channel)


@kernel
def fetch_windows(
    a, x: F1, start, top, left, k, part, *, HEIGHT: int, WIDTH: int, CHANNELS: int, INPUTS: int, TOTAL: int, KH: int,
    KW: int, DH: int, DW: int, INSIDE: bool, A_SIZE: int, A_SLOTS: int, A_PIECES: int, A_RUNS: int, A_RUN: int,
    A_FULL: bool, WHOLE: bool,
) -> None:  # fmt: skip
    """Strips of windows. A slab that lies within a tap is one run; otherwise each piece finds its own tap."""
    for j in range(A_RUNS):
        at = uint32(k) if WHOLE else uint32(k + part + 8 * j)
        tap = tap_of(at)
        ky = row_of(tap)
        y, x0 = int32(ky * DH), int32((tap - ky * KW) * DW)
        c = int32(at - tap * INPUTS + (part if WHOLE else 0))
        ahead = int32((y * WIDTH + x0) * CHANNELS + c)
        for i in range(A_SLOTS):
            if INSIDE:
                refetch(a, i * A_PIECES + j, x, int32(start[i] + ahead), A_FULL or top[i] >= 0, A_SIZE, 8, A_RUN)
            else:
                iy, ix = int32(top[i] + y), int32(left[i] + x0)
                inside = 0 <= iy < HEIGHT and 0 <= ix < WIDTH and (WHOLE or at < TOTAL)
                fetch(a, i * A_PIECES + j, x, int32(start[i] + ahead), inside, A_SIZE, 8, A_RUN)


@kernel
def forward(
    x: F1, weight: F1, bias: F1, other: F1, y: F1, *, THREADS: int, RESIDENT: int, TILES: int, COLUMNS: int, ROWS: int,
    DEPTH: int, TOTAL: int, SPLITS: int, SPLIT: int, INPUTS: int, OUT_ROWS: int, OUT_COLUMNS: int, OUT_PITCH: int,
    SHARED: int, STAGE: int, SUMS: int, HIGH: int, WIDE: int, A_STEP: int, B_STEP: int, A_SIZE: int, A_LANES: int,
    A_LINES: int, A_SLOTS: int, A_PIECES: int, A_REGISTERS: int, A_PITCH: int, A_SLAB: int, B_SIZE: int, B_LANES: int,
    B_LINES: int, B_SLOTS: int, B_PIECES: int, B_REGISTERS: int, B_PITCH: int, B_EVEN: bool, B_FULL: bool,
) -> None:  # fmt: skip
    """y = EPILOGUE(conv(x) + bias): maps in NHWC, filters in OHWI; a block makes ROWS pixels of COLUMNS maps."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    a = cuda.local.array(A_REGISTERS, float32)
    b = cuda.local.array(B_REGISTERS, float32)
    start = cuda.local.array(A_SLOTS, int32)
    top = cuda.local.array(A_SLOTS, int32)
    left = cuda.local.array(A_SLOTS, int32)
    filters = cuda.local.array(B_SLOTS, int32)

    t, block, z = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.z)
    first_row, first_column = int32(block // TILES * ROWS), int32(block % TILES * COLUMNS)
    group, split = int32(z // SPLITS), int32(z % SPLITS)
    row, column = corner(t)
    b_column = int32(A_SLAB + column)
    a_part, b_part = int32(t % A_LANES * A_SIZE), int32(t % B_LANES * B_SIZE)
    a_put = int32(a_part * A_PITCH + t // A_LANES)
    b_put = int32(A_SLAB + b_part * B_PITCH + t // B_LANES)
    window_starts(start, top, left, t, first_row, int32(group * INPUTS))
    first_filter = int32(group * OUT_COLUMNS * TOTAL)
    line_starts(
        filters, t, first_column, OUT_COLUMNS, COLUMNS, TOTAL, first_filter, B_LANES, B_LINES, B_SLOTS
    )  # fmt: skip

    clear(sums, SUMS)
    clear(a, A_REGISTERS)
    clear(b, B_REGISTERS)
    stage = int32(0)
    k = int32(split * SPLIT)
    end = int32(min(k + SPLIT, TOTAL))
    fetch_windows(a, x, start, top, left, k, a_part)
    fetch_lines(b, weight, filters, k, b_part, TOTAL, B_SIZE, B_SLOTS, B_PIECES, B_EVEN, B_FULL)
    put_lines(tile, a_put, stage, a, A_SIZE, A_LINES, A_SLOTS, A_PIECES, A_PITCH)
    put_lines(tile, b_put, stage, b, B_SIZE, B_LINES, B_SLOTS, B_PIECES, B_PITCH)
    cuda.syncthreads()
    k = int32(k + DEPTH)
    while k < end:
        # The next slab is on its way to registers while this one is multiplied.
        fetch_windows(a, x, start, top, left, k, a_part)
        fetch_lines(b, weight, filters, k, b_part, TOTAL, B_SIZE, B_SLOTS, B_PIECES, B_EVEN, B_FULL)
        multiply(
            sums, tile, row, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP,
            B_PITCH, B_STEP,
        )  # fmt: skip
        stage = int32(STAGE - stage)
        put_lines(tile, a_put, stage, a, A_SIZE, A_LINES, A_SLOTS, A_PIECES, A_PITCH)
        put_lines(tile, b_put, stage, b, B_SIZE, B_LINES, B_SLOTS, B_PIECES, B_PITCH)
        cuda.syncthreads()
        k = int32(k + DEPTH)
    multiply(
        sums, tile, row, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP, B_PITCH,
        B_STEP,
    )  # fmt: skip
    begin = int32(split * OUT_ROWS * OUT_PITCH + group * OUT_COLUMNS)
    finish(sums, bias, other, y, int32(first_row + row), int32(first_column + column), group, begin)
