"""Softmax and cross entropy on the CPU: a loss an image, summed in order; the gradient image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl_cpu.dialect import F1, F2, I1, f32
from alexdsl_cpu.offer import Call, Offer, padded


@kernel
def largest(row: F1):
    """The largest number of a row; NaN where there is one."""
    most = row[0]
    for c in range(row.size):
        most = row[c] if row[c] > most or row[c] != row[c] else most
    return most


@kernel
def losses(lo: int, hi: int, slot: int, scores: F2, label: I1, work: F1):
    """-log softmax(scores)[label] of every image; 0 for a label of -1, NaN for one beyond the classes."""
    classes = scores.shape[1]
    for n in range(lo, hi):
        row, right = scores[n], label[n]
        if right < 0:
            work[n] = f32(0.0)
        elif right >= classes:
            work[n] = f32(math.nan)
        else:
            most, total = largest(row), f32(0.0)
            for c in range(classes):
                total += math.exp(row[c] - most)
            work[n] = math.log(total) - (row[right] - most)


@kernel
def mean(lo: int, hi: int, slot: int, loss: F1, work: F1, images: int):
    """The mean of the images' losses."""
    total = 0.0
    for n in range(images):
        total += work[n]
    loss[0] = total / images


@kernel
def softmax_cross_entropy_grad(lo: int, hi: int, slot: int, dloss: F1, scores: F2, label: I1, dscores: F2):
    """dscores = dloss (softmax(scores) - one hot label) / images; 0 for a label of -1."""
    images, classes = scores.shape
    for n in range(lo, hi):
        row, out, right = scores[n], dscores[n], label[n]
        if right < 0:
            for c in range(classes):
                out[c] = f32(0.0)
        else:
            most, total = largest(row), f32(0.0)
            for c in range(classes):
                out[c] = math.exp(row[c] - most)
            for c in range(classes):
                total += out[c]
            share = dloss[0] / f32(images)
            factor = share / total
            for c in range(classes):
                out[c] *= factor
            if right < classes:
                out[right] -= share
            else:
                for c in range(classes):
                    out[c] = f32(math.nan)


class SoftmaxCrossEntropy(Offer):
    """``softmax_cross_entropy`` and its gradient."""

    heads = ("softmax_cross_entropy", "softmax_cross_entropy_grad")

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        forward = op.kind == "softmax_cross_entropy"
        return (Strategy("", 4 * padded(operands[0].shape[0]) if forward else 0),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        made = f"%{op.name}"
        if op.kind == "softmax_cross_entropy_grad":
            return [Call(softmax_cross_entropy_grad, (*names, made), operands[1].shape[0], grain=4)]
        images = operands[0].shape[0]
        each = Call(losses, (*names, "workspace"), images, grain=4)
        return [each, Call(mean, (made, "workspace", images), 1)]
