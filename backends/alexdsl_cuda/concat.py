"""Joins along the channels on CUDA, and the cuts that are their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Types
from alexdsl_cuda.offer import Call, Offer, starts
from alexdsl_cuda.structure import moved


class Concat(Offer):
    """``concat`` and its gradient."""

    heads = ("concat", "concat_grad")

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        if op.kind == "concat":
            parts, y, whole = operands, f"%{op.name}", results[0]
            return [
                moved(f"%{name}", y, part, whole, 1, put=at)
                for name, part, at in zip(op.operands, parts, starts(parts, 1), strict=True)
            ]
        dy, whole = f"%{op.operands[0]}", operands[0]
        return [
            moved(dy, f"%{made.name}", whole, part, 1, taken=at)
            for made, part, at in zip(op.results, results, starts(results, 1), strict=True)
        ]
