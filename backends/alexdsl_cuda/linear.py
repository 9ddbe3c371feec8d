"""Fully connected layers on CUDA: products of rows, in tiles that fit small batches too."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Types
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.products import Products


class Linear(Products):
    """``linear`` and its two gradients. Maps are read row-major, in the order in which the layer flattens them."""

    kind = "linear"
    heads = ("linear", "linear_input_grad", "linear_weight_grad")

    def _makes_output(self, head: str) -> bool:
        # A gradient of maps leaves in rows while what follows wants channels last: only flat values take an epilogue.
        return head == "linear"

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        return [""] * len(operands), [""] * len(results)

    def geometry(self, op: Op, operands: Types, results: Types) -> Geometry:
        if op.kind.startswith("linear_input_grad"):
            weight, dy = operands[:2]
            return Geometry.linear(dy.shape[0], weight.shape[1], weight.shape[0])
        images, *rest = operands[0].shape
        units = operands[1].shape[1] if op.kind.startswith("linear_weight_grad") else operands[1].shape[0]
        return Geometry.linear(images, prod(rest), units)
