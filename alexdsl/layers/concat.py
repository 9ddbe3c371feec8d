"""Values joined along their channels, as in Inception modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import Array, Emitter, LayerKind, OpKind, ShapeError, Types
from alexdsl.ir.types import TensorType


class Concat(LayerKind):
    """Join of two or more values along their channels, in order; inside a group tower by tower."""

    name = "concat"
    inputs = None

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        if len(types) < 2:
            raise ShapeError("expects two or more values", "concat(a, b), or x | concat(a)")
        n, _, *rest = types[0].shape if len(types[0].shape) >= 2 else (0, 0)
        if not n or len({(t.dtype, t.shape[:1], t.shape[2:]) for t in types}) != 1:
            raise ShapeError(
                "expects values that differ in channels only, and gets " + " and ".join(map(str, types)),
                "pad = same and equal strides keep maps of one size",
            )
        return (types[0].with_shape(n, sum(t.shape[1] for t in types), *rest),)

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        towers = attrs.get("towers", 1)
        return {"joins": f"tower by tower, {towers} of them" if towers > 1 else "whole values"}

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (np.concatenate(arrays, 1),)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        attrs = {"channels": tuple(emit.type(x).shape[1] for x in op.operands), **op.attrs}
        return emit.emit("concat_grad", (dy,), attrs, names=[f"{x}.grad" for x in op.operands])


class ConcatGrad(OpKind):
    """The gradients of concat's inputs: the output's gradient, cut into runs of ``channels``."""

    name = "concat_grad"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        n, _, *rest = types[0].shape
        return [types[0].with_shape(n, c, *rest) for c in attrs["channels"]]

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return {**attrs, "channels": tuple(c // towers for c in attrs["channels"])}

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return np.split(arrays[0], list(accumulate(attrs["channels"]))[:-1], 1)


OPS = (Concat(), ConcatGrad())
