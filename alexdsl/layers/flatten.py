"""Maps as one vector per image."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import Array, ShapeError, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.input_grad import InputGrad, OfOutputGrad


class Flatten(OfOutputGrad):
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


class FlattenGrad(InputGrad):
    """The gradient of flatten's input: the output's gradient in the input's shape."""

    name = "flatten_grad"
    cheap = True

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (arrays[0].reshape(attrs["input"]),)


OPS = (Flatten(), FlattenGrad())
