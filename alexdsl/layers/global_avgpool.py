"""Global average pooling (Lin, Chen, Yan, "Network in Network", 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import Array, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.input_grad import InputGrad, OfOutputGrad
from alexdsl.layers.window import expect_maps


class GlobalAvgPool(OfOutputGrad):
    """Global average pooling: the mean of every map. Maps [N, C, H, W] give vectors [N, C]."""

    name = "global_avgpool"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        expect_maps(types[0])
        return (types[0].with_shape(*types[0].shape[:2]),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (arrays[0].mean((2, 3)),)


class GlobalAvgPoolGrad(InputGrad):
    """The gradient of global_avgpool's input: every map shares its mean's gradient among its pixels."""

    name = "global_avgpool_grad"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        height, width = attrs["input"][2:]
        share = arrays[0][:, :, None, None] / (height * width)
        return (np.broadcast_to(share, attrs["input"]).copy(),)


OPS = (GlobalAvgPool(), GlobalAvgPoolGrad())
