"""What moves values about on the CPU: slices, joins, copies, means, layout conversions and constants."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl.ir.types import TensorType
from alexdsl_cpu.dialect import F1
from alexdsl_cpu.offer import Call, Offer, physical, place_of, retyped, starts, stride_of

BLOCK = 4096


@kernel
def move(lo: int, hi: int, slot: int, x: F1, y: F1, count: int, at_x: int, step_x: int, at_y: int, step_y: int):
    """``count`` numbers of every row of x, from place ``at_x`` on, to every row of y, from ``at_y`` on."""
    for row in range(lo, hi):
        source, target = x[row * step_x + at_x :], y[row * step_y + at_y :]
        for i in range(count):
            target[i] = source[i]


@kernel
def add(lo: int, hi: int, slot: int, x: F1, other: F1, y: F1, factor: float, *, BLOCK):
    """y = (x + other) * factor."""
    first, last = lo * BLOCK, min(hi * BLOCK, y.size)
    left, right, target = x[first:last], other[first:last], y[first:last]
    for i in range(last - first):
        target[i] = (left[i] + right[i]) * factor


@kernel
def channels_last(lo: int, hi: int, slot: int, x: F1, y: F1, channels: int, pixels: int):
    """Rows of [channel, pixel] to rows of [pixel, channel]; a unit is an image."""
    for n in range(lo, hi):
        size = channels * pixels
        source, target = x[n * size : (n + 1) * size], y[n * size : (n + 1) * size]
        for pixel in range(pixels):
            for c in range(channels):
                target[pixel * channels + c] = source[c * pixels + pixel]


@kernel
def constant(lo: int, hi: int, slot: int, y: F1, value: float):
    """y = value."""
    for i in range(y.size):
        y[i] = value


class Structure(Offer):
    """The IR's own ops. Copies between logical devices of one machine are plain copies."""

    heads = ("slice", "join", "copy", "accumulate", "mean", "convert", "constant")

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        if op.kind == "convert":
            return [t.layout for t in operands], [t.layout for t in results]
        if op.kind == "constant":
            return [], [""]
        same = operands[0].layout
        return [same] * len(operands), [same]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        y = f"%{op.name}"
        if op.kind == "constant":
            return [Call(constant, (y, float(op.attrs["value"])), 1)]
        if op.kind == "copy":
            return [moved(names[0], y, results[0], results[0])]
        if op.kind in ("accumulate", "mean"):
            units = -(-results[0].elements // BLOCK)
            pairs = zip((names[0], *[y] * (len(names) - 2)), names[1:], strict=True)
            factors = [1.0] * (len(names) - 2) + [1 / len(names) if op.kind == "mean" else 1.0]
            return [
                Call(add, (a, b, y, factor), units, {"BLOCK": BLOCK}, grain=16)
                for (a, b), factor in zip(pairs, factors, strict=True)
            ]
        if op.kind == "convert":
            return [converted(names[0], y, operands[0], results[0])]
        axis = op.attrs["axis"]
        if op.kind == "slice":
            start = op.attrs["start"] * stride_of(operands[0], axis)
            return [moved(names[0], y, operands[0], results[0], axis, taken=start)]
        placed = zip(names, operands, starts(operands, axis), strict=True)
        return [moved(name, y, part, results[0], axis, put=at) for name, part, at in placed]


def moved(
    x: str, y: str, source: TensorType, target: TensorType, axis: int | None = None, taken: int = 0, put: int = 0,
) -> Call:  # fmt: skip
    """Copy a block along an axis; the whole where there is none."""
    vector = {"f32": "F1", "i32": "I1", "i64": "L1", "u8": "U1"}[source.dtype]
    function = retyped(move, x=vector, y=vector)
    if axis is None:
        rows = source.shape[0] if source.shape else 1
        width = source.elements // rows
        return Call(function, (x, y, width, 0, width, 0, width), rows)
    place = place_of(source, axis)
    rows = prod(physical(source)[:place])
    steps = source.elements // rows, target.elements // rows
    sizes = (min(steps), taken, steps[0], put, steps[1])
    return Call(function, (x, y, *sizes), rows, grain=max(1, 4096 // min(steps)))


def converted(x: str, y: str, source: TensorType, target: TensorType) -> Call:
    """Maps from one layout to the other."""
    n, c, h, w = source.shape
    # To channels last [channel, pixel] is transposed; back, [pixel, channel] is, with the names exchanged.
    channels, pixels = (c, h * w) if target.layout else (h * w, c)
    if bool(target.layout) == bool(source.layout):
        raise ValueError(f"no conversion from {source} to {target}")
    return Call(channels_last, (x, y, channels, pixels), n)
