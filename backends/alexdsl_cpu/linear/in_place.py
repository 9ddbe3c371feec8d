"""A linear layer's input gradient for few images: weights are read where they lie, a few rows at a time.

To bring their columns together first, as ``registers`` does, costs more than it saves where each is read only a few
times. Few rows, so that long runs of each pass before the next: every page of memory is come back to less often.
"""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry
from alexdsl_cpu.dialect import F1, F2, LANES, Function
from alexdsl_cpu.linear.sizes import Sizes, made_of, operands_of, other_of
from alexdsl_cpu.offer import Args, Call, Constants, padded, per_worker, tail, with_extra
from alexdsl_cpu.product import block, rows_for

NAME = "in_place"
VECTORS = 3
"""Vectors of a block's rows."""
WIDE = LANES * VECTORS
BROAD, DEPTH = 24 * WIDE, 12
"""Columns of a unit, and rows that it takes at a time."""
RATE, BYTES = 65e9, 13e9
"""Of one core, for the cost: multiply-adds, and bytes of the weights, in a second."""


@kernel
def input_grad_in_place(
    lo: int, hi: int, slot: int, weight: F2, dy: F2, other: F2, dx: F2, work: F1, share: int, *, BROAD, DEPTH, ROWS,
    WIDE, AHEAD, BLOCK: Function, EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(dy W); a unit is BROAD inputs, DEPTH outputs at a time, while the next ones' weights come near."""
    images, outputs = dy.shape
    inputs = weight.shape[1]
    flat, grads = weight.reshape(weight.size), dy.reshape(dy.size)
    sums = work[slot * share : (slot + 1) * share]
    for unit in range(lo, hi):
        first, last = unit * BROAD, min((unit + 1) * BROAD, inputs)
        for k in range(0, outputs, DEPTH):
            for j in range(first, last, WIDE):
                # The last rows and columns reach back: some sums are made twice, each in a place of its own.
                at = k * inputs + min(j, inputs - WIDE)
                for i in range(0, images, ROWS):
                    row, place = min(i, images - ROWS) * outputs + k, i * BROAD + j - first
                    near, deep = at + DEPTH * inputs + i // ROWS * AHEAD * LANES, min(DEPTH, outputs - k)
                    BLOCK(grads, row, outputs, 0, 1, flat, at, inputs, sums, place, BROAD, 1, deep, k > 0, near)
        count = last - first
        whole = count - count % WIDE
        for n in range(images):
            again = 0 if n < images - images % ROWS else ROWS - images % ROWS
            made, out, extra = sums[(n + again) * BROAD :], dx[n, first:last], other[n, first:last]
            for j in range(whole):
                out[j] = EPILOGUE(made[j], extra[j])
            for j in range(whole, count):
                out[j] = EPILOGUE(made[j + WIDE - count % WIDE], extra[j])


def strategies(sizes: Sizes) -> Sequence[Strategy]:
    """Where there are rows and columns enough for a block."""
    if sizes.head != "linear_input_grad" or sizes.inputs < WIDE or sizes.images < rows_for(sizes.images, VECTORS):
        return ()
    cost = sizes.multiply_adds / RATE + sizes.bytes / BYTES
    return (Strategy(NAME, per_worker(_share(sizes)), cost),)


def calls(op: Op, sizes: Sizes, registry: Registry) -> Sequence[Call]:
    """The kernel call of an op."""
    rows = rows_for(sizes.images, VECTORS)
    epilogue = tail(op, registry)
    # Blocks of images one after the other read the same weights: each brings a part of the next ones near.
    ahead = -(-VECTORS // -(-sizes.images // rows))
    args: Args = (*operands_of(op, sizes), other_of(op, epilogue), made_of(op)[0], "workspace", _share(sizes))
    constants: Constants = {
        "BROAD": BROAD, "DEPTH": DEPTH, "ROWS": rows, "WIDE": WIDE, "AHEAD": ahead,
        "BLOCK": block(rows, VECTORS, ahead), "EPILOGUE": with_extra(epilogue),
    }  # fmt: skip
    return [Call(input_grad_in_place, args, -(-sizes.inputs // BROAD), constants)]


def _share(sizes: Sizes) -> int:
    """float32 numbers of a unit's sums."""
    rows = rows_for(sizes.images, VECTORS)
    return padded(-(-sizes.images // rows) * rows * BROAD)
