"""What the strategies of a linear layer's op and of its gradients know of it."""

from __future__ import annotations

from dataclasses import dataclass

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import Scalar
from alexdsl.ir.protocol import Types
from alexdsl_cpu.offer import head_attrs


@dataclass(frozen=True)
class Sizes:
    """The op's head, its images, inputs and outputs."""

    head: str
    images: int
    inputs: int
    outputs: int

    @property
    def multiply_adds(self) -> int:
        return self.images * self.inputs * self.outputs

    @property
    def bytes(self) -> int:
        """Of the weights."""
        return 4 * self.inputs * self.outputs


def sizes_of(op: Op, operands: Types, results: Types) -> Sizes:
    head = op.kind.split("+")[0]
    if head == "linear_input_grad":
        return Sizes(head, operands[1].shape[0], operands[0].shape[1], operands[0].shape[0])
    if head == "linear_weight_grad":
        return Sizes(head, operands[0].shape[0], results[0].shape[1], results[0].shape[0])
    return Sizes(head, operands[0].shape[0], operands[1].shape[1], operands[1].shape[0])


def operands_of(op: Op, sizes: Sizes) -> list[str]:
    """Of ``linear`` the bias too, or anything in its place; of a gradient the two that are multiplied."""
    found = [f"%{name}" for name in op.operands]
    if sizes.head != "linear":
        return found[:2]
    return [*found[:2], found[2] if head_attrs(op)["bias"] else found[1]]


def made_of(op: Op) -> list[str]:
    return [f"%{result.name}" for result in op.results]


def other_of(op: Op, epilogue: Scalar) -> str:
    """What the epilogue takes beside a sum, or anything in its place."""
    return f"%{op.operands[-1]}" if len(epilogue.args) == 2 else f"%{op.results[0].name}"
