"""Global average pooling (Lin, Chen, Yan, "Network in Network", 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import Array, Emitter, LayerKind, OpKind, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.window import expect_maps


class GlobalAvgPool(LayerKind):
    """Global average pooling: the mean of every map. Maps [N, C, H, W] give vectors [N, C]."""

    name = "global_avgpool"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        expect_maps(types[0])
        return (types[0].with_shape(*types[0].shape[:2]),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (arrays[0].mean((2, 3)),)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        (x,) = op.operands
        return emit.emit("global_avgpool_grad", (dy,), {"input": emit.type(x).shape, **op.attrs}, names=[f"{x}.grad"])


class GlobalAvgPoolGrad(OpKind):
    """The gradient of global_avgpool's input: every map shares its mean's gradient among its pixels."""

    name = "global_avgpool_grad"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0].with_shape(*attrs["input"]),)

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        n, c, *rest = attrs["input"]
        return {**attrs, "input": (n, c // towers, *rest)}

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        height, width = attrs["input"][2:]
        share = arrays[0][:, :, None, None] / (height * width)
        return (np.broadcast_to(share, attrs["input"]).copy(),)


OPS = (GlobalAvgPool(), GlobalAvgPoolGrad())
