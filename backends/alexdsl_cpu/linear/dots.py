"""A linear layer by dot products in registers: rows of images and of weights both lie along the inputs, so that the
weights are read once, as they lie."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.dialect import F1, F2, Function
from alexdsl_cpu.linear.sizes import Sizes, made_of, operands_of, other_of
from alexdsl_cpu.offer import Args, Call, Constants, head_attrs, padded, per_worker, tail, with_extra
from alexdsl_cpu.product import COLUMNS, dots

NAME = "dots"
BLOCKS, DEPTH = 4, 1024
"""Blocks of a unit, and inputs that it takes at a time: a block's weights and images stay in the first cache."""
LOADS = 0.5
"""What a load costs of a multiply-add, to choose the block."""
RATE, BYTES = 47e9, 8e9
"""Of one core, for the cost: multiply-adds, and bytes of the weights, in a second."""


@kernel
def linear_dots(
    lo: int, hi: int, slot: int, x: F2, weight: F2, bias: F1, other: F2, y: F2, work: F1, share: int, *, OUTPUTS, ROWS,
    COLUMNS, DEPTH, AHEAD, DOTS: Function, BIAS, EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(x W' + bias); a unit is OUTPUTS outputs for the whole batch, DEPTH inputs at a time, for which so
    few rows of the weights stay in the first cache while the images pass, and the next come near."""
    images, inputs = x.shape
    outputs = weight.shape[0]
    rows, columns = x.reshape(x.size), weight.reshape(weight.size)
    sums = work[slot * share : (slot + 1) * share]
    for unit in range(lo, hi):
        first, last = unit * OUTPUTS, min((unit + 1) * OUTPUTS, outputs)
        for k in range(0, inputs, DEPTH):
            for j in range(first, last, COLUMNS):
                # The last rows and columns reach back: some sums are made twice, each in a place of its own.
                o = min(j, outputs - COLUMNS) * inputs + k
                following = o + COLUMNS * inputs if j + COLUMNS < last else first * inputs + k + DEPTH
                for i in range(0, images, ROWS):
                    n = min(i, images - ROWS) * inputs + k
                    place = i * OUTPUTS + j - first
                    near, depth = following + i // ROWS * AHEAD * inputs, min(DEPTH, inputs - k)
                    DOTS(rows, n, inputs, columns, o, inputs, sums, place, OUTPUTS, depth, k > 0, near)
        count = last - first
        whole = count - count % COLUMNS
        for n in range(images):
            again = 0 if n < images - images % ROWS else ROWS - images % ROWS
            made, out, extra = sums[(n + again) * OUTPUTS :], y[n, first:last], other[n, first:last]
            for j in range(whole):
                out[j] = EPILOGUE(made[j] + bias[first + j] if BIAS else made[j], extra[j])
            for j in range(whole, count):
                value = made[j + COLUMNS - count % COLUMNS]
                out[j] = EPILOGUE(value + bias[first + j] if BIAS else value, extra[j])


def strategies(sizes: Sizes) -> Sequence[Strategy]:
    if sizes.head != "linear" or sizes.outputs < _block(sizes)[1]:
        return ()
    cost = sizes.multiply_adds / RATE + sizes.bytes / BYTES
    return (Strategy(NAME, per_worker(_share(sizes)), cost),)


def calls(op: Op, sizes: Sizes, registry: Registry) -> Sequence[Call]:
    """The kernel call of an op."""
    rows, columns = _block(sizes)
    # Blocks of images one after the other read the same weights: each brings a part of the next ones near.
    ahead = -(-columns // -(-sizes.images // rows))
    epilogue = tail(op, registry)
    args: Args = (*operands_of(op, sizes), other_of(op, epilogue), made_of(op)[0], "workspace", _share(sizes))
    constants: Constants = {
        "OUTPUTS": BLOCKS * columns, "ROWS": rows, "COLUMNS": columns, "DEPTH": DEPTH, "AHEAD": ahead,
        "DOTS": dots(rows, columns, ahead), "BIAS": bool(head_attrs(op)["bias"]), "EPILOGUE": with_extra(epilogue),
    }  # fmt: skip
    return [Call(linear_dots, args, -(-sizes.outputs // (BLOCKS * columns)), constants)]


def _block(sizes: Sizes) -> tuple[int, int]:
    """Rows and columns of a block: for which the images are rounded up least, and of those the fewest loads."""

    def cost(rows: int) -> float:
        loads = LOADS * (rows + COLUMNS[rows]) / (rows * COLUMNS[rows])
        return -(-sizes.images // rows) * rows * (1 + loads)

    rows = min((r for r in COLUMNS if r <= sizes.images), key=cost)
    return rows, COLUMNS[rows]


def _share(sizes: Sizes) -> int:
    """float32 numbers of a unit's sums."""
    rows, columns = _block(sizes)
    return padded(-(-sizes.images // rows) * rows * BLOCKS * columns)
