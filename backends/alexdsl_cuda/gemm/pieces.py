"""What the products' kernels share: a thread's place, operands stored in lines, and the results' way to memory."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.gemm.names import (
    F1,
    Function,
    clear,
    cuda,
    fetch,
    float32,
    int32,
    load_quad,
    put_columns,
    put_quad,
    quotient,
    refetch,
    shift,
    store_quad,
    uint32,
)


@kernel
def corner(t, *, WARP: int, WARPS: int, LANES: int, HIGH: int, WIDE: int):
    """Where in the block's tile the first of a thread's quads lie."""
    lane, warp = int32(t % WARP), int32(t // WARP)
    row = int32(warp // WARPS * (WARP // LANES * HIGH) + lane // LANES * 4)
    column = int32(warp % WARPS * (LANES * WIDE) + lane % LANES * 4)
    return row, column


@kernel
def tap_of(k, *, TAPS: int, TAP: int, TAP_INVERSE: int, DEPTH: int, WHOLE: bool):
    """The tap at a place of the depth; there are TAP places to each, and if WHOLE, whole slabs."""
    if TAPS == 1:
        tap = uint32(0)
    elif WHOLE:
        tap = quotient(k // DEPTH, TAP_INVERSE)
    else:
        tap = uint32(k // TAP)
    return tap


@kernel
def row_of(tap, *, KW_INVERSE: int):
    """The window's row of a tap: tap // KW."""
    return quotient(tap, KW_INVERSE)


@kernel
def line_starts(starts, t, first, lines, width, pitch, base, LANES: int, LINES: int, SLOTS: int) -> None:
    """Where each of a thread's lines begins in memory; -1 beyond the tile or the last line."""
    for i in range(SLOTS):
        row = int32(t // LANES + i * LINES)
        starts[i] = int32(base + (first + row) * pitch) if row < width and first + row < lines else int32(-1)


@kernel
def fetch_lines(
    b, array: F1, starts, k, part, total, SIZE: int, SLOTS: int, PIECES: int, EVEN: bool, FULL: bool
) -> None:
    """Strips of lines that lie along the depth. What is beyond the last line is not stored, whatever it is."""
    for i in range(SLOTS):
        if EVEN:
            refetch(b, i * PIECES, array, int32(starts[i] + part + k), FULL or starts[i] >= 0, SIZE, 8, PIECES)
        else:
            for j in range(PIECES):
                at = int32(k + part + 8 * j)
                fetch(b, i * PIECES + j, array, int32(starts[i] + at), starts[i] >= 0 and at < total, SIZE, 8, 1)


@kernel
def put_rows(tile, at, stage, registers, SIZE: int, LINES: int, SLOTS: int, PITCH: int) -> None:
    """The fetched pieces of the slab's rows, along rows of shared memory."""
    for i in range(SLOTS):
        if SIZE == 4:
            put_quad(tile, at, stage, int32(i * LINES * PITCH), registers, i)
        else:
            put_columns(tile, at, stage, int32(i * LINES * PITCH), registers, i, 1, 1, 1, PITCH)


@kernel
def put_lines(tile, at, stage, registers, SIZE: int, LINES: int, SLOTS: int, PIECES: int, PITCH: int) -> None:
    """The fetched strips, each down a column of shared memory."""
    for i in range(SLOTS):
        put_columns(tile, at, stage, int32(i * LINES), registers, i * PIECES, SIZE, 8, PIECES, PITCH)


@kernel
def finish_piece(
    sums, bias: F1, other: F1, y: F1, channel, at, *, OUT_SIZE: int, BIAS: bool, EPILOGUE: Function
) -> None:
    """The first OUT_SIZE sums through bias and epilogue to memory."""
    added = cuda.local.array(4, float32)
    extra = cuda.local.array(4, float32)
    clear(added, 4)
    if OUT_SIZE == 4:
        if BIAS:
            load_quad(added, bias, channel)
        load_quad(extra, other, at)
        sums[0] = EPILOGUE(sums[0] + added[0], extra[0])
        sums[1] = EPILOGUE(sums[1] + added[1], extra[1])
        sums[2] = EPILOGUE(sums[2] + added[2], extra[2])
        sums[3] = EPILOGUE(sums[3] + added[3], extra[3])
        store_quad(y, at, sums)
    else:
        if BIAS:
            added[0] = bias[channel]
        y[at] = EPILOGUE(sums[0] + added[0], other[at])


@kernel
def finish(
    sums, bias: F1, other: F1, y: F1, row, column, group, start, *, OUT_ROWS: int, OUT_COLUMNS: int, OUT_PITCH: int,
    OUT_SIZE: int, SUMS: int, WIDE: int, A_STEP: int, B_STEP: int,
) -> None:  # fmt: skip
    """A thread's sums to memory, piece by piece; they move down, so that the piece at hand is always the first."""
    for i in range(SUMS // OUT_SIZE):
        below, beside = i * OUT_SIZE // WIDE, i * OUT_SIZE % WIDE
        r = int32(row + below // 4 * A_STEP + below % 4)
        c = int32(column + beside // 4 * B_STEP + beside % 4)
        if r < OUT_ROWS and c < OUT_COLUMNS:
            finish_piece(sums, bias, other, y, int32(group * OUT_COLUMNS + c), int32(start + r * OUT_PITCH + c))
        shift(sums, OUT_SIZE, SUMS)
