"""Flattening on CUDA: maps lie channels last, vectors map after map, so that one pass moves and reorders them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Types
from alexdsl_cuda.offer import Call, Offer
from alexdsl_cuda.structure import moved
from alexdsl_cuda.transpose import converted


class Flatten(Offer):
    """``flatten`` and its gradient."""

    heads = ("flatten", "flatten_grad")

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        x, y, source, target = f"%{op.operands[0]}", f"%{op.name}", operands[0], results[0]
        if source.layout:
            return [converted(x, y, source, replace(source, layout=""))]
        if target.layout:
            return [converted(x, y, replace(target, layout=""), target)]
        return [moved(x, y, target, target)]
