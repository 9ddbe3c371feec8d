"""Joins along the channels on CUDA, and the cuts that are their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Types
from alexdsl.ir.types import TensorType
from alexdsl_cuda.offer import Call, Offer
from alexdsl_cuda.structure import inner, moved


class Concat(Offer):
    """``concat`` and its gradient."""

    heads = ("concat", "concat_grad")

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        if op.kind == "concat":
            parts, y, whole = operands, f"%{op.name}", results[0]
            return [
                moved(f"%{name}", y, part, whole, 1, put=at)
                for name, part, at in zip(op.operands, parts, _starts(parts), strict=True)
            ]
        dy, whole = f"%{op.operands[0]}", operands[0]
        return [
            moved(dy, f"%{made.name}", whole, part, 1, taken=at)
            for made, part, at in zip(op.results, results, _starts(results), strict=True)
        ]


def _starts(parts: Sequence[TensorType]) -> list[int]:
    """Where each part begins in a row of the whole."""
    return [0, *accumulate(part.shape[1] * inner(part, 1) for part in parts)][:-1]
