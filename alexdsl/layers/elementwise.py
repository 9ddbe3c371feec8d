"""What activation functions share: a scalar value, a scalar derivative, and the gradient op made from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import Array, Emitter, LayerKind, OpKind, Types
from alexdsl.ir.types import TensorType


class Elementwise(LayerKind):
    """A layer whose every output element is ``scalar`` of the input element.

    ``derivative`` is dy/dx as an expression over ``x`` or ``y`` (``needs`` says which: input or output) and the
    attributes. Backends inline both expressions; ``reference`` and ``slope`` are the NumPy definitions that the
    expressions are held against.
    """

    derivative: ClassVar[str]
    rising: ClassVar[bool] = False
    """Whether the output never falls as the input rises, so that it may change places with max pooling."""

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0],)

    def slope(self, x: Array, y: Array, attrs: Attrs) -> Array:
        """dy/dx for arrays."""
        raise NotImplementedError

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        kept = op.operands[0] if self.needs == ("input",) else op.name
        return emit.emit(f"{self.name}_grad", (dy, kept), op.attrs, names=[f"{op.operands[0]}.grad"])


class ElementwiseGrad(OpKind):
    """``dx = dy * derivative``, from dy and the layer's input or output."""

    first_stage = "differentiated"

    def __init__(self, layer: Elementwise) -> None:
        self.layer = layer
        self.name = f"{layer.name}_grad"  # type: ignore[misc]
        kept = "x" if layer.needs == ("input",) else "y"
        self.scalar = f"dy * ({layer.derivative})"  # type: ignore[misc]
        self.scalar_operands = ("dy", kept)  # type: ignore[misc]

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0],)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        dy, kept = arrays
        return (dy * self.layer.slope(kept, kept, attrs),)


def elementwise_ops(layer: Elementwise) -> tuple[OpKind, ...]:
    """The op kinds of an elementwise layer: itself and its gradient."""
    return layer, ElementwiseGrad(layer)
