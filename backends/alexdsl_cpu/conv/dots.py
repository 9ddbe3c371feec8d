"""Convolution by dot products in registers: windows, written out, and filters lie along the inputs and are read so.

For few images, where other strategies spend more on packing or transforming filters."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.conv.direct import COPIES, im2col
from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.dialect import F1, F2, F4, Function
from alexdsl_cpu.offer import Args, Call, Constants, padded, per_worker, tail, with_extra
from alexdsl_cpu.product import COLUMNS, dots

NAME = "dots"
ROWS = max(rows for rows in COLUMNS if rows < COLUMNS[rows])
"""Pixels of a block, whose loads serve the most multiply-adds; squares (5 x 5) leave too few registers beside them."""
PIXELS, PARTS = 64, 4
"""Output pixels of a unit at most; units at least, so that two cores, or four, have as much to do."""
DEPTH = 1024
"""Inputs that a block takes at a time: its filters stay in the first cache while the pixels pass."""
RATE = 47e9
"""Of one core, for the cost: multiply-adds in a second."""


@kernel
def conv_dots(
    lo: int, hi: int, slot: int, x: F4, weight: F2, bias: F1, other: F4, y: F4, work: F1, groups: int, pixels: int,
    tiles: int, share: int, kh: int, kw: int, sh: int, sw: int, dh: int, dw: int, top: int, left: int, *, ROWS, COLUMNS,
    DEPTH, DOTS: Function, BIAS, EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(conv(x) + bias); a unit is so many output pixels of an image."""
    height, width, maps = y.shape[1], y.shape[2], y.shape[3]
    inputs, outputs, window = x.shape[3] // groups, maps // groups, weight.shape[1]
    filters, flat, more = weight.reshape(weight.size), y.reshape(y.size), other.reshape(other.size)
    wide = (outputs + COLUMNS - 1) // COLUMNS * COLUMNS
    col = work[slot * share : (slot + 1) * share]
    sums = col[pixels * window :]
    for unit in range(lo, hi):
        n, first = unit // tiles, unit % tiles * pixels
        count = min(pixels, height * width - first)
        for g in range(groups):
            im2col(x, n, first, count, width, g * inputs, inputs, col, kh, kw, sh, sw, dh, dw, top, left)
            for k in range(0, window, DEPTH):
                depth = min(DEPTH, window - k)
                for j in range(0, outputs, COLUMNS):
                    # The last filters and pixels reach back: some sums are made twice, each in a place of its own.
                    source = (g * outputs + min(j, outputs - COLUMNS)) * window + k
                    for i in range(0, count, ROWS):
                        at = min(i, count - ROWS) * window + k
                        DOTS(col, at, window, filters, source, window, sums, i * wide + j, wide, depth, k > 0)
            whole = outputs - outputs % COLUMNS
            for p in range(count):
                again = 0 if p < count - count % ROWS else ROWS - count % ROWS
                made, to = sums[(p + again) * wide :], ((n * height * width) + first + p) * maps + g * outputs
                out, extra = flat[to : to + outputs], more[to : to + outputs]
                for c in range(whole):
                    out[c] = EPILOGUE(made[c] + bias[g * outputs + c] if BIAS else made[c], extra[c])
                for c in range(whole, outputs):
                    value = made[c + wide - outputs]
                    out[c] = EPILOGUE(value + bias[g * outputs + c] if BIAS else value, extra[c])


def strategies(shape: Shape) -> Sequence[Strategy]:
    """The forward pass, where there are filters and pixels enough for a block."""
    _, last = _tiles(shape)
    if shape.head != "conv" or shape.filters < COLUMNS[ROWS] or last < ROWS:
        return ()
    cost = shape.multiply_adds / RATE + 4 * shape.copied / COPIES
    return (Strategy(NAME, per_worker(_share(shape)), cost),)


def calls(op: Op, shape: Shape, registry: Registry) -> Sequence[Call]:
    """The kernel call of an op."""
    pixels, _ = _tiles(shape)
    tiles = -(-_pixels(shape) // pixels)
    epilogue, result, names = tail(op, registry), f"%{op.name}", [f"%{name}" for name in op.operands]
    other = names[-1] if len(epilogue.args) == 2 else result
    arrays = (names[0], names[1], names[2] if shape.bias else names[1], other, result, "workspace")
    args: Args = (*arrays, shape.groups, pixels, tiles, _share(shape), *shape.geometry)
    constants: Constants = {
        "ROWS": ROWS, "COLUMNS": COLUMNS[ROWS], "DEPTH": DEPTH, "DOTS": dots(ROWS, COLUMNS[ROWS]), "BIAS": shape.bias,
        "EPILOGUE": with_extra(epilogue),
    }  # fmt: skip
    return [Call(conv_dots, args, shape.images * tiles, constants)]


def _pixels(shape: Shape) -> int:
    return shape.rows.out * shape.columns.out


def _tiles(shape: Shape) -> tuple[int, int]:
    """Output pixels of a unit, whole blocks of them; and those of an image's last unit."""
    pixels = _pixels(shape)
    count = max(-(-pixels // PIXELS), -(-PARTS // shape.images))
    size = min(pixels, -(-pixels // (count * ROWS)) * ROWS)
    return size, pixels - (pixels - 1) // size * size


def _share(shape: Shape) -> int:
    """float32 numbers of a unit's windows and sums."""
    pixels, columns = _tiles(shape)[0], COLUMNS[ROWS]
    return padded(pixels * shape.window + -(-pixels // ROWS) * ROWS * -(-shape.filters // columns) * columns)
