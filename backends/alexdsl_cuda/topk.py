"""Top-k accuracy on CUDA: a block an image counts the scores that stand before the right one."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cuda.dialect import F1, I1, cuda, float32, int32, uint32
from alexdsl_cuda.offer import Call, Offer
from alexdsl_cuda.reduce import halving, mean_call, sum_of_block


@kernel
def topk(scores: F1, label: I1, hits: F1, k: int, *, CLASSES, THREADS) -> None:
    """hits = 1 where the label is among an image's k highest scores, else 0; a label that is no class is a miss."""
    parts = cuda.shared.array(THREADS, int32)
    t, n = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    first, right = uint32(n * CLASSES), int32(label[n])
    known = 0 <= right < CLASSES
    score = scores[uint32(first + right) if known else first]
    # A class stands before the right one if it scores more, or as much with a lower index.
    before, i = int32(0), t
    while i < CLASSES:
        other = scores[uint32(first + i)]
        if other > score or (other == score and int32(i) < right):
            before = int32(before + 1)
        i = uint32(i + THREADS)
    parts[t] = before
    total = sum_of_block(parts, t)
    if t == 0:
        hits[n] = float32(1.0) if known and total < k else float32(0.0)


class TopK(Offer):
    """``topk``."""

    heads = ("topk",)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return (Strategy("", 4 * operands[0].shape[0]),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        scores, label = (f"%{name}" for name in op.operands)
        images, classes = operands[0].shape
        threads = halving(classes)
        constants = {"CLASSES": classes, "THREADS": threads}
        each = Call(topk, (scores, label, "workspace", op.attrs["k"]), (images, 1, 1), constants, (threads, 1, 1))
        return [each, mean_call("workspace", f"%{op.name}", images)]
