"""Pixels of a strided convolution's input by their phase: the taps that read them, and where they lie.

Of the taps a pixel under a stride is read by those only whose distance from it is a multiple of the stride.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import F1, int32, quotient, shift, uint32
from alexdsl_cuda.gemm.pieces import finish_piece


@kernel
def first_tap(phase, stride: int, dilation: int, step: int):
    """The first tap that reads pixels of a phase; taps follow in steps. Without any: ``step`` or more."""
    tap = int32(0)
    while tap < step and tap * dilation % stride != phase:
        tap = int32(tap + 1)
    return tap if tap < step else int32(1 << 20)


@kernel
def count(size, first, step: int):
    """How many of first, first + step, ... lie below the size."""
    return int32((size - first + step - 1) // step) if first < size else int32(0)


@kernel
def phase_row(tap, taps_x, *, TAPS_X: int, TAPS_X_INVERSE: int, FEWER_INVERSE: int):
    """Which row of its phase's taps a tap is in. A phase has TAPS_X columns of taps, or one fewer."""
    return quotient(tap, TAPS_X_INVERSE) if taps_x == TAPS_X else quotient(tap, FEWER_INVERSE)


@kernel
def pixel_starts(
    start, down, right, t, first, y0, x0, rows, columns, tap_y, tap_x, map, *, IMAGES: int, OUT_H: int, OUT_W: int,
    MAPS: int, SH: int, SW: int, DH: int, DW: int, TOP: int, LEFT: int, ROWS: int, A_LANES: int, A_LINES: int,
    A_SLOTS: int,
) -> None:  # fmt: skip
    """Which output pixel meets a thread's pixels at their phase's first tap: its row, its column, and its memory."""
    for i in range(A_SLOTS):
        row = uint32(t // A_LANES + i * A_LINES)
        pixel = uint32(first + row)
        here = row < ROWS and pixel < uint32(IMAGES * rows * columns)
        x = int32(pixel % max(columns, uint32(1)))
        line = uint32(pixel // max(columns, uint32(1)))
        y, image = int32(line % max(rows, uint32(1))), int32(line // max(rows, uint32(1)))
        # Far above the image, if there is no such pixel: nothing is fetched for it.
        down[i] = int32((y0 + y * SH + TOP - tap_y * DH) // SH) if here else int32(-(1 << 30))
        right[i] = int32((x0 + x * SW + LEFT - tap_x * DW) // SW)
        start[i] = int32(((image * OUT_H + down[i]) * OUT_W + right[i]) * MAPS + map)


@kernel
def finish_phase(
    sums, bias: F1, other: F1, y: F1, row, column, group, y0, x0, rows, columns, *, IMAGES: int, HEIGHT: int,
    WIDTH: int, OUT_COLUMNS: int, OUT_PITCH: int, OUT_SIZE: int, SH: int, SW: int, SUMS: int, WIDE: int, A_STEP: int,
    B_STEP: int,
) -> None:  # fmt: skip
    """``finish`` for pixels of a phase, which lie apart."""
    for i in range(SUMS // OUT_SIZE):
        below, beside = i * OUT_SIZE // WIDE, i * OUT_SIZE % WIDE
        pixel = uint32(row + below // 4 * A_STEP + below % 4)
        c = int32(column + beside // 4 * B_STEP + beside % 4)
        if pixel < uint32(IMAGES * rows * columns) and c < OUT_COLUMNS:
            iy = int32(y0 + pixel // columns % rows * SH)
            ix = int32(x0 + pixel % columns * SW)
            image = int32(pixel // (rows * columns))
            at = int32(((image * HEIGHT + iy) * WIDTH + ix) * OUT_PITCH + group * OUT_COLUMNS + c)
            finish_piece(sums, bias, other, y, int32(group * OUT_COLUMNS + c), at)
        shift(sums, OUT_SIZE, SUMS)
