"""What moves values about on CUDA: slices, joins, copies, sums, layout conversions and constants."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import Scalar, kernel
from alexdsl.ir.protocol import Types
from alexdsl.ir.types import TensorType
from alexdsl_cuda.add import SAME, sum_calls
from alexdsl_cuda.dialect import CUDA, F1, cuda, float32, uint32
from alexdsl_cuda.offer import Call, Offer, physical, place_of, retyped, starts, stride_of
from alexdsl_cuda.quads import flat, read, size_of, thread, write
from alexdsl_cuda.transpose import converted


@kernel
def move(x: F1, y: F1, taken: int, put: int, count: int, *, SIZE, WIDTH, STEP_X, STEP_Y) -> None:
    """WIDTH numbers of every row of x, from ``taken`` on, to every row of y, from ``put`` on; a thread moves SIZE."""
    t = thread()
    if t < uint32(count):
        row, column = uint32(t // (WIDTH // SIZE)), uint32(t % (WIDTH // SIZE) * SIZE)
        source, target = uint32(row * STEP_X + taken + column), uint32(row * STEP_Y + put + column)
        if SIZE == 4:
            numbers = cuda.local.array(SIZE, float32)
            read(numbers, x, source)
            write(y, target, numbers)
        else:
            y[target] = x[source]


@kernel
def constant(y: F1, value: float, count: int) -> None:
    """y = value."""
    t = thread()
    if t < uint32(count):
        y[t] = value


class Structure(Offer):
    """The IR's own ops. A copy takes no kernel: the runtime moves its bytes, be it within a device."""

    heads = ("slice", "join", "copy", "sum", "accumulate", "mean", "convert", "constant")

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
            return [flat(constant, (y, float(op.attrs["value"])), 1, {})]
        if op.kind == "copy":
            return []
        if op.kind in ("sum", "accumulate", "mean"):
            shared = Scalar(("v", "_"), (), f"v * {CUDA.number(1 / len(names))}")
            return sum_calls(names, y, results[0].elements, shared if op.kind == "mean" else SAME)
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
    rows = 1 if axis is None else prod(physical(source)[: place_of(source, axis)])
    steps = source.elements // rows, target.elements // rows
    width = min(steps)
    size = size_of(width, taken, put, *steps) if vector == "F1" else 1
    constants = {"SIZE": size, "WIDTH": width, "STEP_X": steps[0], "STEP_Y": steps[1]}
    return flat(retyped(move, x=vector, y=vector), (x, y, taken, put), rows * width // size, constants)
