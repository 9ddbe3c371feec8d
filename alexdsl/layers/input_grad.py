"""What gradients of inputs share: the input's shape is an attribute, of which each tower has its channels."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import Emitter, LayerKind, OpKind, Types
from alexdsl.ir.types import TensorType


class InputGrad(OpKind):
    """The gradient of a layer's input, of shape ``input``, in the type of its operands."""

    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0].with_shape(*attrs["input"]),)

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        n, c, *rest = attrs["input"]
        seen = c if attrs.get("sees") == "all" else c // towers
        return {**attrs, "input": (n, seen, *rest)}


class OfOutputGrad(LayerKind):
    """A layer of one input whose gradient needs nothing but the output's: an op called ``NAME_grad``."""

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        (x,) = op.operands
        return emit.emit(f"{self.name}_grad", (dy,), {**op.attrs, "input": emit.type(x).shape}, names=[f"{x}.grad"])
