"""Convolution that reads windows where they lie: without pads, a window's rows are runs of the maps, no im2col is due.

For first layers of few channels, whose windows are many times the maps (AlexNet's conv1: 7 times). Products are made in
registers; the weight gradient sums over whole images there.
"""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.dialect import F1, F2, F4, LANES, Function, f32
from alexdsl_cpu.offer import SLOTS, Args, Call, Constants, padded, tail, with_extra
from alexdsl_cpu.product import block, rows_for, vectors_for

NAME = "in_place"
SEGMENTS = 8
"""Parts of the batch whose weight gradients are summed apart, then added in order, for any number of workers."""
BAND = 5
"""Output rows of a unit of work, or of a sum in registers."""
RATE, ADDED = 75e9, 0.1e9
"""Of one core, for the cost: multiply-adds, and numbers of segments' sums turned and added, in a second."""


@kernel
def columns_of_filters(lo: int, hi: int, slot: int, weight: F2, work: F1, *, WIDE):
    """work[panel, k, WIDE] = the filters' numbers; a unit is a panel of WIDE filters."""
    window = weight.shape[1]
    for panel in range(lo, hi):
        for i in range(WIDE):
            row = weight[panel * WIDE + i]
            for k in range(window):
                work[(panel * window + k) * WIDE + i] = row[k]


@kernel
def conv_in_place(
    lo: int, hi: int, slot: int, x: F4, bias: F1, other: F4, y: F4, work: F1, bands: int, start: int, share: int,
    step: int, stride: int, down: int, runs: int, depth: int, *, BAND, ROWS, WIDE, BLOCK: Function, BIAS,
    EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(conv(x) + bias); a unit is a band of output rows.

    In x a window is ``runs`` runs of ``depth`` numbers, ``down`` apart; windows are ``stride`` apart, rows of windows
    ``step``.
    """
    height, width, maps = y.shape[1], y.shape[2], y.shape[3]
    image, flat = x.shape[1] * x.shape[2] * x.shape[3], x.reshape(x.size)
    sums = work[start + slot * share : start + (slot + 1) * share]
    for unit in range(lo, hi):
        n, first = unit // bands, unit % bands * BAND
        for oy in range(first, min(first + BAND, height)):
            at = n * image + oy * step
            for j in range(0, maps, WIDE):
                filters = work[j * runs * depth :]
                for i in range(0, width, ROWS):
                    # The last block reaches back: it makes some pixels twice, but reads whole windows.
                    ox = min(i, width - ROWS)
                    source, target = at + ox * stride, ox * maps + j
                    BLOCK(flat, source, stride, down, 1, filters, 0, WIDE, sums, target, maps, runs, depth, False)
            result, more = y[n, oy].reshape(width * maps), other[n, oy].reshape(width * maps)
            for pixel in range(width):
                made, out, extra = sums[pixel * maps :], result[pixel * maps :], more[pixel * maps :]
                for c in range(maps):
                    out[c] = EPILOGUE(made[c] + bias[c] if BIAS else made[c], extra[c])


@kernel
def weight_grad_in_place(
    lo: int, hi: int, slot: int, x: F4, dy: F4, work: F1, segments: int, part: int, step: int, stride: int, down: int,
    runs: int, depth: int, *, BAND, ROWS, WIDE, BLOCK: Function, BIAS,
):  # fmt: skip
    """Sums over each segment of the batch, one segment a unit: [run, number of the window, filter], then biases.

    Each run's numbers are rounded up to whole blocks: the last block reaches back and sums some of them twice.
    """
    images, height, width, maps = dy.shape
    image, flat, grads = x.shape[1] * x.shape[2] * x.shape[3], x.reshape(x.size), dy.reshape(dy.size)
    blocks = -(-depth // ROWS)
    for unit in range(lo, hi):
        total = work[unit * part : (unit + 1) * part]
        for i in range(part):
            total[i] = f32(0.0)
        sums = total[runs * blocks * ROWS * maps :]
        for n in range(unit * images // segments, (unit + 1) * images // segments):
            for first in range(0, height, BAND):
                rows = min(BAND, height - first)
                grad = (n * height + first) * width * maps
                for run in range(runs):
                    for b in range(blocks):
                        source = n * image + first * step + run * down + min(b * ROWS, depth - ROWS)
                        for j in range(0, maps, WIDE):
                            target = (run * blocks + b) * ROWS * maps + j
                            BLOCK(
                                flat, source, 1, step, stride, grads, grad + j, maps, total, target, maps, rows, width,
                                True,
                            )  # fmt: skip
                if BIAS:
                    for pixel in range(rows * width):
                        row = grads[grad + pixel * maps : grad + (pixel + 1) * maps]
                        for c in range(maps):
                            sums[c] += row[c]


@kernel
def add_in_place(
    lo: int, hi: int, slot: int, dw: F2, db: F1, work: F1, segments: int, part: int, runs: int, depth: int, *, ROWS,
    BIAS,
):  # fmt: skip
    """The segments' sums added in order; a unit is a filter, and with it its bias."""
    maps, blocks = dw.shape[0], -(-depth // ROWS)
    last = (blocks - 1) * ROWS
    for unit in range(lo, hi):
        row = dw[unit]
        for run in range(runs):
            for k in range(depth):
                place = k if k < last else last + k - (depth - ROWS)
                at = (run * blocks * ROWS + place) * maps + unit
                total = work[at]
                for s in range(1, segments):
                    total += work[s * part + at]
                row[run * depth + k] = total
        if BIAS:
            at = runs * blocks * ROWS * maps + unit
            total = work[at]
            for s in range(1, segments):
                total += work[s * part + at]
            db[unit] = total


def strategies(shape: Shape) -> Sequence[Strategy]:
    """The strategy, where no window is cut by an edge and blocks in registers are whole."""
    rows, columns = shape.rows, shape.columns
    whole = columns.dilation == 1 and all(a.before == 0 and a.unread >= 0 for a in (rows, columns))
    counted = shape.filters % _wide(shape) == 0 and columns.out >= _rows(shape) and _depth(shape) >= _rows(shape)
    if shape.head == "conv_input_grad" or shape.groups > 1 or not whole or not counted:
        return ()
    cost = shape.multiply_adds / RATE
    if shape.head == "conv_weight_grad":
        sums = SEGMENTS * _part(shape)
        return (Strategy(NAME, 4 * sums, cost + sums / ADDED),)
    return (Strategy(NAME, 4 * (_packed(shape) + SLOTS * _share(shape)), cost),)


def calls(op: Op, shape: Shape, registry: Registry) -> Sequence[Call]:
    """The kernel calls of an op."""
    rows, columns, channels = shape.rows, shape.columns, shape.inputs
    names, line = [f"%{name}" for name in op.operands], columns.size * channels
    sizes = (rows.stride * line, columns.stride * channels, rows.dilation * line, rows.kernel, _depth(shape))
    vectors = _wide(shape) // LANES
    constants: Constants = {
        "BAND": BAND, "ROWS": _rows(shape), "WIDE": _wide(shape), "BLOCK": block(_rows(shape), vectors),
        "BIAS": shape.bias,
    }  # fmt: skip
    if shape.head == "conv_weight_grad":
        made, part = [f"%{r.name}" for r in op.results], _part(shape)
        args: Args = (*names, "workspace", SEGMENTS, part, *sizes)
        added: Args = (made[0], made[-1], "workspace", SEGMENTS, part, *sizes[3:])
        return [
            Call(weight_grad_in_place, args, SEGMENTS, constants),
            Call(add_in_place, added, shape.filters, {"ROWS": _rows(shape), "BIAS": shape.bias}, grain=4),
        ]
    epilogue, y = tail(op, registry), f"%{op.name}"
    bias, other = names[2] if shape.bias else y, names[-1] if len(epilogue.args) == 2 else y
    bands = -(-rows.out // BAND)
    args = (names[0], bias, other, y, "workspace", bands, _packed(shape), _share(shape), *sizes)
    wide: Constants = {"WIDE": _wide(shape)}
    return [
        Call(columns_of_filters, (names[1], "workspace"), shape.filters // _wide(shape), wide),
        Call(conv_in_place, args, shape.images * bands, {**constants, "EPILOGUE": with_extra(epilogue)}),
    ]


def _wide(shape: Shape) -> int:
    """Columns of a block: filters."""
    return LANES * vectors_for(shape.filters)


def _rows(shape: Shape) -> int:
    """Rows of a block: windows, or in the weight gradient numbers of a window's run."""
    count = _depth(shape) if shape.head == "conv_weight_grad" else shape.columns.out
    return rows_for(count, _wide(shape) // LANES)


def _depth(shape: Shape) -> int:
    """Numbers of a window's run."""
    return shape.columns.kernel * shape.inputs


def _packed(shape: Shape) -> int:
    """float32 numbers of the filters by columns."""
    return padded(shape.window * shape.filters)


def _share(shape: Shape) -> int:
    """A worker's numbers: a row of output."""
    return padded(shape.columns.out * shape.filters)


def _part(shape: Shape) -> int:
    """A segment's numbers."""
    numbers = -(-_depth(shape) // _rows(shape)) * _rows(shape) * shape.rows.kernel
    return padded((numbers + 1) * shape.filters)
