"""Softmax and cross entropy on CUDA: a block an image; the images' losses are added in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cuda.dialect import F1, I1, cuda, float32, int32, uint32
from alexdsl_cuda.offer import Call, Offer
from alexdsl_cuda.reduce import halving, mean_call, sum_of_block

inverse_root: Any = None
"""From ``alexdsl_cuda.intrinsics``."""


@kernel
def larger(a, b):
    """The larger of two numbers, or that which is not one."""
    return b if b > a or b != b else a


@kernel
def largest_of_row(scores, first, parts, t, *, CLASSES, THREADS):
    """The largest number of a row, found by a block; NaN where there is one."""
    # Every thread begins with the first score: threads beyond the classes then change nothing.
    most, i = scores[first], t
    while i < CLASSES:
        most = larger(most, scores[uint32(first + i)])
        i = uint32(i + THREADS)
    parts[t] = most
    cuda.syncthreads()
    half = uint32(THREADS // 2)
    while half > 0:
        if t < half:
            parts[t] = larger(parts[t], parts[uint32(t + half)])
        cuda.syncthreads()
        half = uint32(half // 2)
    return parts[0]


@kernel
def sum_of_row(scores, first, most, parts, t, *, CLASSES, THREADS):
    """The sum of the exponentials of a row's scores, less the largest, found by a block."""
    total, i = float32(0.0), t
    while i < CLASSES:
        total += math.exp(scores[uint32(first + i)] - most)
        i = uint32(i + THREADS)
    parts[t] = total
    return sum_of_block(parts, t)


@kernel
def losses(scores: F1, label: I1, work: F1, *, CLASSES, THREADS) -> None:
    """-log softmax(scores)[label] of every image; 0 for a label of -1, NaN for one beyond the classes."""
    tops = cuda.shared.array(THREADS, float32)
    parts = cuda.shared.array(THREADS, float32)
    t, n = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    first = uint32(n * CLASSES)
    most = largest_of_row(scores, first, tops, t)
    total = sum_of_row(scores, first, most, parts, t)
    if t == 0:
        right = int32(label[n])
        loss = float32(0.0) if right < 0 else float32(math.nan)
        if 0 <= right < CLASSES:
            loss = math.log(total) - (scores[uint32(first + right)] - most)
        work[n] = loss


@kernel
def softmax_cross_entropy_grad(
    dloss: F1, scores: F1, label: I1, dscores: F1, *, CLASSES, PART, THREADS,
) -> None:  # fmt: skip
    """dscores = dloss PART (softmax(scores) - one hot label), PART being one over the images; 0 for a label of -1, NaN
    for one beyond the last."""
    tops = cuda.shared.array(THREADS, float32)
    parts = cuda.shared.array(THREADS, float32)
    t, n = uint32(cuda.threadIdx.x), uint32(cuda.blockIdx.x)
    first = uint32(n * CLASSES)
    right = int32(label[n])
    most = largest_of_row(scores, first, tops, t)
    total = sum_of_row(scores, first, most, parts, t)
    # A total is at least 1, the largest score's exponential; its reciprocal is the square of one fast instruction.
    share, inverse = dloss[0] * PART, inverse_root(total)
    factor = share * inverse * inverse
    i = t
    while i < CLASSES:
        slope = math.exp(scores[uint32(first + i)] - most) * factor
        if right == int32(i):
            slope -= share
        if right >= CLASSES:
            slope = float32(math.nan)
        dscores[uint32(first + i)] = float32(0.0) if right < 0 else slope
        i = uint32(i + THREADS)


class SoftmaxCrossEntropy(Offer):
    """``softmax_cross_entropy`` and its gradient."""

    heads = ("softmax_cross_entropy", "softmax_cross_entropy_grad")

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        forward = op.kind == "softmax_cross_entropy"
        return (Strategy("", 4 * operands[0].shape[0] if forward else 0),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made = [f"%{name}" for name in op.operands], f"%{op.name}"
        forward = op.kind == "softmax_cross_entropy"
        images, classes = operands[0 if forward else 1].shape
        threads = halving(classes)
        constants = {"CLASSES": classes, "THREADS": threads}
        grid, block = (images, 1, 1), (threads, 1, 1)
        if forward:
            each = Call(losses, (*names, "workspace"), grid, constants, block)
            return [each, mean_call("workspace", made, images)]
        return [Call(softmax_cross_entropy_grad, (*names, made), grid, {**constants, "PART": 1 / images}, block)]
