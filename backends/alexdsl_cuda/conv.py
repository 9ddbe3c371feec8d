"""Convolution on CUDA: implicit products over windows of channels-last maps."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Types
from alexdsl.layers.window import axes
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.offer import FILTERS, MAPS, head_attrs
from alexdsl_cuda.products import Products


class Conv(Products):
    """``conv`` and its two gradients."""

    kind = "conv"
    heads = ("conv", "conv_input_grad", "conv_weight_grad")

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        head = op.kind.split("+")[0]
        given = [MAPS if len(t.shape) == 4 else "" for t in operands]
        weight = {"conv": 1, "conv_input_grad": 0}.get(head)
        if weight is not None:
            given[weight] = FILTERS
        made = [FILTERS, ""][: len(results)] if head == "conv_weight_grad" else [MAPS]
        return given, made

    def geometry(self, op: Op, operands: Types, results: Types) -> Geometry:
        attrs = head_attrs(op)
        x = results[0] if op.kind.startswith("conv_input_grad") else operands[0]
        images, channels = x.shape[:2]
        return Geometry(images, channels, attrs["maps"], *axes(x.shape, attrs), attrs["groups"])
