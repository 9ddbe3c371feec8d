"""What the strategies of a linear layer's op and of its gradients know of it."""

from __future__ import annotations

from dataclasses import dataclass

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import Scalar, kernel
from alexdsl.ir.protocol import Types
from alexdsl_cpu.dialect import f32
from alexdsl_cpu.offer import Args, Constants, head_attrs
from alexdsl_cpu.sgd import NUMBERS, settings


@dataclass(frozen=True)
class Sizes:
    """The op's head, its images, inputs and outputs; ``updates``: whether a gradient goes into the weights at once."""

    head: str
    images: int
    inputs: int
    outputs: int
    updates: bool = False

    @property
    def multiply_adds(self) -> int:
        return self.images * self.inputs * self.outputs

    @property
    def bytes(self) -> int:
        """Of the weights."""
        return 4 * self.inputs * self.outputs


@kernel
def sum_images(dy, first, last, db):
    """db[first:last] = the sum of dy over the images."""
    for o in range(first, last):
        db[o] = f32(0.0)
    for n in range(len(dy)):
        for o in range(first, last):
            db[o] += dy[n, o]


def sizes_of(op: Op, operands: Types, results: Types) -> Sizes:
    head, *more = op.kind.split("+")
    if head == "linear_input_grad":
        return Sizes(head, operands[1].shape[0], operands[0].shape[1], operands[0].shape[0])
    if head == "linear_weight_grad":
        weight = operands[2] if more else results[0]
        return Sizes(head, operands[0].shape[0], weight.shape[1], weight.shape[0], bool(more))
    return Sizes(head, operands[0].shape[0], operands[1].shape[1], operands[1].shape[0])


def operands_of(op: Op, sizes: Sizes) -> list[str]:
    """Of ``linear`` the bias too, or anything in its place; of a gradient the two that are multiplied."""
    found = [f"%{name}" for name in op.operands]
    if sizes.head != "linear":
        return found[:2]
    return [*found[:2], found[2] if head_attrs(op)["bias"] else found[1]]


def update_of(op: Op, sizes: Sizes) -> tuple[Args, Constants]:
    """Of a gradient that goes into the weights: the weights, velocities and rate, the bias's gradient or anything in
    its place, and the solver's numbers; what ``descend`` is compiled for, and BIAS."""
    solver = op.attrs["steps"][1]
    kind, attrs = solver["kind"], solver["attrs"]
    names, made = [f"%{name}" for name in op.operands[2:]], made_of(op)
    numbers = [float(attrs[key]) for key in NUMBERS]
    return (*names, made[0], *numbers), {**settings(kind, attrs), "BIAS": len(made) == 3}


def made_of(op: Op) -> list[str]:
    return [f"%{result.name}" for result in op.results]


def other_of(op: Op, epilogue: Scalar) -> str:
    """What the epilogue takes beside a sum, or anything in its place."""
    return f"%{op.operands[-1]}" if len(epilogue.args) == 2 else f"%{op.results[0].name}"
