"""The gradient of a convolution's input as a product: rows are pixels, columns channels, the depth is (tap, map).

Of the taps a pixel under a stride is read by those only whose distance from it is a multiple of the stride: pixels are
sorted into phases, and a block makes pixels of one phase, so that no zero is multiplied.
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
    quad,
    refetch,
    uint32,
)
from alexdsl_cuda.gemm.phases import count, finish_phase, first_tap, phase_row, pixel_starts
from alexdsl_cuda.gemm.pieces import corner, finish, put_lines, put_rows, row_of, tap_of


@kernel
def fetch_pixels(
    a, dy: F1, start, down, right, k, end, taps_x, part, *, OUT_H: int, OUT_W: int, MAPS: int, OUTPUTS: int, KH: int,
    KW: int, HOP_H: int, HOP_W: int, A_SIZE: int, A_SLOTS: int, A_PIECES: int, A_RUNS: int, A_RUN: int, PHASES: int,
    WHOLE: bool,
) -> None:  # fmt: skip
    """Strips of the output pixels' maps. A slab that lies within a tap is one run; otherwise each piece finds its own
    tap."""
    for j in range(A_RUNS):
        at = uint32(k) if WHOLE else uint32(k + part + 8 * j)
        tap = tap_of(at)
        y = row_of(tap) if PHASES == 1 else phase_row(tap, taps_x)
        up, back = int32(y * HOP_H), int32((tap - y * taps_x) * HOP_W)
        map = int32(at - tap * OUTPUTS + (part if WHOLE else 0))
        ahead = int32(map - (up * OUT_W + back) * MAPS)
        for i in range(A_SLOTS):
            oy, ox = int32(down[i] - up), int32(right[i] - back)
            inside = 0 <= oy < OUT_H and 0 <= ox < OUT_W and (WHOLE or at < end)
            fetch(a, i * A_PIECES + j, dy, int32(start[i] + ahead), inside, A_SIZE, 8, A_RUN)


@kernel
def fetch_points(a, dy: F1, start, down, k, part, first, *, A_SIZE: int, A_SLOTS: int, A_PIECES: int) -> None:
    """``fetch_pixels`` where windows are pixels. The ``first`` slab may begin before the first map."""
    for i in range(A_SLOTS):
        if first:
            for j in range(A_PIECES):
                map = int32(k + part + 8 * j)
                fetch(a, i * A_PIECES + j, dy, int32(start[i] + map), down[i] >= 0 and map >= 0, A_SIZE, 8, 1)
        else:
            # What is beyond the last pixel is not stored, whatever it is.
            refetch(a, i * A_PIECES, dy, int32(start[i] + part + k), down[i] >= 0, A_SIZE, 8, A_PIECES)


@kernel
def fetch_filters(
    b, weight: F1, start, k, end, taps_x, tap_y, tap_x, line, first, *, OUTPUTS: int, KH: int, KW: int, STEP_H: int,
    STEP_W: int, OUT_COLUMNS: int, DEPTH: int, PHASES: int, WHOLE: bool, B_SIZE: int, B_LINES: int, B_SLOTS: int,
    B_HOP: int, B_WHOLE: bool,
) -> None:  # fmt: skip
    """Rows of filters: the channels of a map's tap. The ``first`` slab may begin before the first map."""
    for i in range(1 if B_WHOLE and not first else B_SLOTS):
        row = int32(line + i * B_LINES)
        at = uint32(k) if WHOLE else uint32(k + row)
        tap = tap_of(at)
        y = row_of(tap) if PHASES == 1 else phase_row(tap, taps_x)
        ky, kx = uint32(tap_y + y * STEP_H), uint32(tap_x + (tap - y * taps_x) * STEP_W)
        map = uint32(at - tap * OUTPUTS + (row if WHOLE else 0))
        place = uint32(start + uint32(map * (KH * KW) + ky * KW + kx) * OUT_COLUMNS)
        if B_WHOLE and not first:
            fetch(b, 0, weight, place, True, B_SIZE, B_HOP, B_SLOTS)
        else:
            fetch(b, i, weight, place, row < DEPTH and uint32(k + row) < uint32(end), B_SIZE, 1, 1)


@kernel
def input_grad(
    weight: F1, dy: F1, other: F1, dx: F1, *, THREADS: int, RESIDENT: int, TILES: int, COLUMNS: int, ROWS: int,
    DEPTH: int, SPLITS: int, SPLIT: int, BEFORE: int, PHASES: int, OUTPUTS: int, HEIGHT: int, WIDTH: int, KH: int,
    KW: int, SH: int, SW: int, DH: int, DW: int, TOP: int, LEFT: int, STEP_H: int, STEP_W: int, OUT_ROWS: int,
    OUT_COLUMNS: int, OUT_PITCH: int, SHARED: int, STAGE: int, SUMS: int, HIGH: int, WIDE: int, A_STEP: int,
    B_STEP: int, A_SIZE: int, A_LANES: int, A_LINES: int, A_SLOTS: int, A_PIECES: int, A_REGISTERS: int, A_PITCH: int,
    A_SLAB: int, B_SIZE: int, B_LANES: int, B_LINES: int, B_SLOTS: int, B_REGISTERS: int, B_PITCH: int, POINTWISE: bool,
    WHOLE: bool,
) -> None:  # fmt: skip
    """dx = EPILOGUE(the sum of dy through the filters that read a pixel): maps in NHWC, filters in OHWI."""
    tile = cuda.shared.array(SHARED, quad)
    sums = cuda.local.array(SUMS, float32)
    a = cuda.local.array(A_REGISTERS, float32)
    b = cuda.local.array(B_REGISTERS, float32)
    start = cuda.local.array(A_SLOTS, int32)
    down = cuda.local.array(A_SLOTS, int32)
    right = cuda.local.array(A_SLOTS, int32)

    t, block, z = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x), uint32(cuda.blockIdx.z)
    first_row, first_column = int32(block // TILES * ROWS), int32(block % TILES * COLUMNS)
    split, phase, group = int32(z % SPLITS), uint32(z // SPLITS % PHASES), int32(z // (SPLITS * PHASES))
    tap_y = first_tap(phase // SW, SH, DH, STEP_H)
    tap_x = first_tap(phase % SW, SW, DW, STEP_W)
    y0 = int32((phase // SW + (SH - TOP % SH)) % SH)
    x0 = int32((phase % SW + (SW - LEFT % SW)) % SW)
    rows, columns = uint32(count(HEIGHT, y0, SH)), uint32(count(WIDTH, x0, SW))
    taps_y, taps_x = uint32(count(KH, tap_y, STEP_H)), uint32(count(KW, tap_x, STEP_W))
    total = int32(taps_y * taps_x * OUTPUTS)

    row, column = corner(t)
    b_column = int32(A_SLAB + column)
    a_part, b_part = int32(t % A_LANES * A_SIZE), int32(t % B_LANES * B_SIZE)
    a_put = int32(a_part * A_PITCH + t // A_LANES)
    b_line = int32(t // B_LANES)
    b_put = int32(A_SLAB + b_line * B_PITCH + b_part)
    pixel_starts(start, down, right, t, first_row, y0, x0, rows, columns, tap_y, tap_x, int32(group * OUTPUTS))
    # What is fetched again for channels beyond the last is not stored.
    across = min(int32(first_column + b_part), int32(OUT_COLUMNS - B_SIZE))
    filters = int32(group * OUTPUTS * KH * KW * OUT_COLUMNS + across)

    clear(sums, SUMS)
    clear(a, A_REGISTERS)
    stage = int32(0)
    # Where the depth is no multiple of a slab's, the first slab begins before it.
    k = int32(split * SPLIT - BEFORE)
    end = int32(min(k + SPLIT, total))
    if k < end:
        if POINTWISE and WHOLE:
            fetch_points(a, dy, start, down, k, a_part, True)
        else:
            fetch_pixels(a, dy, start, down, right, k, end, taps_x, a_part)
        fetch_filters(b, weight, filters, k, end, taps_x, tap_y, tap_x, b_line, True)
        put_lines(tile, a_put, stage, a, A_SIZE, A_LINES, A_SLOTS, A_PIECES, A_PITCH)
        put_rows(tile, b_put, stage, b, B_SIZE, B_LINES, B_SLOTS, B_PITCH)
        cuda.syncthreads()
        k = int32(k + DEPTH)
        while k < end:
            # The next slab is on its way to registers while this one is multiplied.
            if POINTWISE and WHOLE:
                fetch_points(a, dy, start, down, k, a_part, False)
            else:
                fetch_pixels(a, dy, start, down, right, k, end, taps_x, a_part)
            fetch_filters(b, weight, filters, k, end, taps_x, tap_y, tap_x, b_line, False)
            multiply(
                sums, tile, row, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP,
                B_PITCH, B_STEP,
            )  # fmt: skip
            stage = int32(STAGE - stage)
            put_lines(tile, a_put, stage, a, A_SIZE, A_LINES, A_SLOTS, A_PIECES, A_PITCH)
            put_rows(tile, b_put, stage, b, B_SIZE, B_LINES, B_SLOTS, B_PITCH)
            cuda.syncthreads()
            k = int32(k + DEPTH)
        multiply(
            sums, tile, row, b_column, stage, HIGH, WIDE, DEPTH, A_PITCH, A_STEP,
            B_PITCH, B_STEP,
        )  # fmt: skip
    if PHASES == 1:
        begin = int32(split * OUT_ROWS * OUT_PITCH + group * OUT_COLUMNS)
        finish(sums, other, other, dx, int32(first_row + row), int32(first_column + column), group, begin)
    else:
        finish_phase(
            sums, other, other, dx, int32(first_row + row), int32(first_column + column), group, y0, x0, rows, columns
        )
