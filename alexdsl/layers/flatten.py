"""Maps as one vector per image."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import Array, Emitter, LayerKind, OpKind, ShapeError, Types
from alexdsl.ir.types import TensorType


class Flatten(LayerKind):
    """Flattening: maps [N, C, H, W] become vectors [N, C * H * W], map after map, row after row."""

    name = "flatten"
    cheap = True

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        shape = types[0].shape
        if len(shape) < 2:
            raise ShapeError(f"expects maps [N, C, H, W] or vectors [N, C], and gets {types[0]}")
        return (types[0].with_shape(shape[0], prod(shape[1:])),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (arrays[0].reshape(len(arrays[0]), -1),)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        (x,) = op.operands
        return emit.emit("flatten_grad", (dy,), {"input": emit.type(x).shape, **op.attrs}, names=[f"{x}.grad"])


class FlattenGrad(OpKind):
    """The gradient of flatten's input: the output's gradient in the input's shape."""

    name = "flatten_grad"
    first_stage = "differentiated"
    cheap = True

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0].with_shape(*attrs["input"]),)

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        n, c, *rest = attrs["input"]
        return {**attrs, "input": (n, c // towers, *rest)}

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (arrays[0].reshape(attrs["input"]),)


OPS = (Flatten(), FlattenGrad())
