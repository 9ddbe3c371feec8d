"""Top-k accuracy on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cpu.dialect import F1, F2, I1
from alexdsl_cpu.offer import Call, Offer


@kernel
def topk(lo: int, hi: int, slot: int, scores: F2, label: I1, y: F1, k: int):
    """The part of the images whose label is among the k highest scores; a label that is no class is a miss."""
    images, classes = scores.shape
    hits = 0
    for n in range(images):
        row, right = scores[n], label[n]
        if 0 <= right < classes:
            # A class stands before the right one if it scores more, or as much with a lower index.
            before, score = 0, row[right]
            for c in range(classes):
                before += 1 if row[c] > score else 0
            for c in range(right):
                before += 1 if row[c] == score else 0
            hits += 1 if before < k else 0
    y[0] = hits / images


class TopK(Offer):
    """``topk``."""

    heads = ("topk",)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        scores, label = (f"%{name}" for name in op.operands)
        return [Call(topk, (scores, label, f"%{op.name}", op.attrs["k"]), 1)]
