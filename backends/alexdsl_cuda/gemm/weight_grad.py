"""The gradient of a convolution's filters as a product: rows are maps, columns are (ky, kx, c), the depth is pixels."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import (
    F1,
    clear,
    cuda,
    fetch,
    fetch_on,
    float32,
    int32,
    multiply,
    quad,
    quotient,
    refetch,
    uint32,
)
from alexdsl_cuda.gemm.pieces import corner, finish, put_rows


@kernel
def fetch_maps(
    a, dy: F1, start, k, end, line, *, MAPS: int, DEPTH: int, A_SIZE: int, A_LINES: int, A_SLOTS: int, A_HOP: int,
    A_WHOLE: bool, EVEN: bool,
) -> None:  # fmt: skip
    """Rows of output pixels: their maps."""
    if A_WHOLE:
        fetch(a, 0, dy, int32(start + (k + line) * MAPS), True, A_SIZE, A_HOP, A_SLOTS)
    else:
        for i in range(A_SLOTS):
            row = int32(line + i * A_LINES)
            pixel = int32(k + row)
            if EVEN:
                refetch(a, i, dy, int32(start + pixel * MAPS), row < DEPTH, A_SIZE, 1, 1)
            else:
                fetch(a, i, dy, int32(start + pixel * MAPS), row < DEPTH and pixel < end, A_SIZE, 1, 1)


@kernel
def fetch_window_rows(
    b, x: F1, start, y, x0, k, end, line, *, OUT_H: int, OUT_W: int, OUT_H_INVERSE: int, OUT_W_INVERSE: int,
    HEIGHT: int, WIDTH: int, CHANNELS: int, SH: int, SW: int, DEPTH: int, B_SIZE: int, B_LINES: int, B_SLOTS: int,
    B_HOP: int, B_WHOLE: bool, INSIDE: bool, FITS: bool, SAME: bool,
) -> None:  # fmt: skip
    """Rows of windows: what a thread's tap and channels meet at output pixels k, k + 1, ..."""
    if B_WHOLE:
        fetch(b, 0, x, int32(start + (k + line) * CHANNELS), True, B_SIZE, B_HOP, B_SLOTS)
    else:
        for i in range(B_SLOTS):
            row = int32(line + i * B_LINES)
            pixel = uint32(k + row)
            down = quotient(pixel, OUT_W_INVERSE)
            image = quotient(down, OUT_H_INVERSE)
            ox, oy = int32(pixel - down * OUT_W), int32(down - image * OUT_H)
            iy, ix = int32(oy * SH + y), int32(ox * SW + x0)
            inside = INSIDE or (0 <= iy < HEIGHT and 0 <= ix < WIDTH)
            inside = inside and (FITS or (row < DEPTH and pixel < end))
            if SAME:
                # Output and input have the same pixels: a pixel's number is its place.
                fetch_on(b, i, x, int32(start + (k + line) * CHANNELS), int32(i * B_LINES * CHANNELS), inside, B_SIZE)
            else:
                place = uint32((image * HEIGHT + oy * SH) * WIDTH + ox * SW)
                fetch_on(b, i, x, start, int32(place * CHANNELS), inside, B_SIZE)


@kernel
def weight_grad(
    x: F1, dy: F1, dw: F1, *, THREADS: int, RESIDENT: int, TILES: int, COLUMNS: int, ROWS: int, DEPTH: int, TOTAL: int,
    SPLITS: int, SPLIT: int, INPUTS: int, CHANNELS: int, WIDTH: int, KW: int, DH: int, DW: int, TOP: int, LEFT: int,
    OUT_ROWS: int, OUT_COLUMNS: int, OUT_PITCH: int, GROUPS: int, SHARED: int, STAGE: int, SUMS: int, HIGH: int,
    WIDE: int, A_STEP: int, B_STEP: int, A_SIZE: int, A_LANES: int, A_LINES: int, A_SLOTS: int, A_REGISTERS: int,
    A_PITCH: int, A_SLAB: int, B_SIZE: int, B_LANES: int, B_LINES: int, B_SLOTS: int, B_REGISTERS: int, B_PITCH: int,
) -> None:  # fmt: skip
    """dw = dy' windows(x) over the split's pixels: maps in NHWC, filters in OHWI; splits lie one after the other."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    a = cuda.local.array(A_REGISTERS, float32)
    b = cuda.local.array(B_REGISTERS, float32)

    t, block, z = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.z)
    first_row, first_column = int32(block // TILES * ROWS), int32(block % TILES * COLUMNS)
    split, group = int32(z % SPLITS), int32(z // SPLITS)
    row, column = corner(t)
    b_column = int32(A_SLAB + column)
    a_part, b_part = int32(t % A_LANES * A_SIZE), int32(t % B_LANES * B_SIZE)
    a_line, b_line = int32(t // A_LANES), int32(t // B_LANES)
    a_put = int32(a_line * A_PITCH + a_part)
    b_put = int32(A_SLAB + b_line * B_PITCH + b_part)
    # What is fetched again for lines beyond the last is not stored.
    maps = int32(group * OUT_ROWS + min(first_row + a_part, int32(OUT_ROWS - A_SIZE)))
    place = uint32(min(first_column + b_part, int32(OUT_COLUMNS - B_SIZE)))
    y, x0 = int32(place // (INPUTS * KW) * DH - TOP), int32(place // INPUTS % KW * DW - LEFT)
    start = int32((y * WIDTH + x0) * CHANNELS + group * INPUTS + place % INPUTS)

    clear(sums, SUMS)
    clear(a, A_REGISTERS)
    stage = int32(0)
    k = int32(split * SPLIT)
    end = int32(min(k + SPLIT, TOTAL))
    fetch_maps(a, dy, maps, k, end, a_line)
    fetch_window_rows(b, x, start, y, x0, k, end, b_line)
    put_rows(tile, a_put, stage, a, A_SIZE, A_LINES, A_SLOTS, A_PITCH)
    put_rows(tile, b_put, stage, b, B_SIZE, B_LINES, B_SLOTS, B_PITCH)
    cuda.syncthreads()
    k = int32(k + DEPTH)
    while k < end:
        # The next slab is on its way to registers while this one is multiplied.
        fetch_maps(a, dy, maps, k, end, a_line)
        fetch_window_rows(b, x, start, y, x0, k, end, b_line)
        multiply(
            sums, tile, row, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP,
            B_PITCH, B_STEP,
        )  # fmt: skip
        stage = int32(STAGE - stage)
        put_rows(tile, a_put, stage, a, A_SIZE, A_LINES, A_SLOTS, A_PITCH)
        put_rows(tile, b_put, stage, b, B_SIZE, B_LINES, B_SLOTS, B_PITCH)
        cuda.syncthreads()
        k = int32(k + DEPTH)
    multiply(
        sums, tile, row, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP, B_PITCH,
        B_STEP,
    )  # fmt: skip
    begin = int32((split * GROUPS + group) * OUT_ROWS * OUT_PITCH)
    finish(sums, x, dw, dw, int32(first_row + row), int32(first_column + column), group, begin)
