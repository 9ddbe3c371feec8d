"""Batch normalisation on the CPU: sums over a fixed cut of the pixels, added in order, then one pass over the maps.

A value is rows of channels, one row a pixel of an image. A run of images that share statistics is cut into segments;
each segment sums its rows by blocks, so that sums of many numbers stay exact enough in single precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Types
from alexdsl.ir.types import TensorType
from alexdsl_cpu.dialect import F1, F2, f32
from alexdsl_cpu.offer import Call, Offer, padded, rows_of

SEGMENTS = 32
"""Parts of a run, summed apart; fixed, so that sums do not depend on the number of workers."""
BLOCK = 64
"""Rows summed before they join a segment's sum; also the rows of a unit of the last pass."""


@kernel
def sums(lo: int, hi: int, slot: int, x: F1, mean: F2, work: F1, rows: int, *, SEGMENTS, BLOCK, SQUARES):
    """work[segment] = the sum of x's rows, or of their squared distances from the run's mean."""
    runs, channels = mean.shape
    table = x.reshape(runs * rows, channels)
    for unit in range(lo, hi):
        run, segment = unit // SEGMENTS, unit % SEGMENTS
        total = work[2 * unit * channels : (2 * unit + 1) * channels]
        part = work[(2 * unit + 1) * channels : (2 * unit + 2) * channels]
        centre = mean[run]
        for c in range(channels):
            total[c] = f32(0.0)
        last = (segment + 1) * rows // SEGMENTS
        for first in range(segment * rows // SEGMENTS, last, BLOCK):
            for c in range(channels):
                part[c] = f32(0.0)
            for i in range(first, min(first + BLOCK, last)):
                row = table[run * rows + i]
                for c in range(channels):
                    if SQUARES:
                        part[c] += (row[c] - centre[c]) * (row[c] - centre[c])
                    else:
                        part[c] += row[c]
            for c in range(channels):
                total[c] += part[c]


@kernel
def means(lo: int, hi: int, slot: int, mean: F2, work: F1, rows: int, *, SEGMENTS):
    """mean = the segments' sums over the number of rows; a unit is a run."""
    channels = mean.shape[1]
    for run in range(lo, hi):
        for c in range(channels):
            total = 0.0
            for segment in range(SEGMENTS):
                total += work[2 * (run * SEGMENTS + segment) * channels + c]
            mean[run, c] = total / rows


@kernel
def deviations(
    lo: int, hi: int, slot: int, mean: F2, rstd: F2, running_mean: F1, running_variance: F1, work: F1, rows: int,
    momentum: float, epsilon: float, *, SEGMENTS,
):  # fmt: skip
    """rstd = 1 / sqrt(variance + epsilon) of every run, and a step of the running statistics."""
    runs, channels = mean.shape
    keep = momentum
    for c in range(channels):
        middle, spread = 0.0, 0.0
        for run in range(runs):
            total = 0.0
            for segment in range(SEGMENTS):
                total += work[2 * (run * SEGMENTS + segment) * channels + c]
            variance = total / rows
            rstd[run, c] = 1.0 / math.sqrt(variance + epsilon)
            middle += mean[run, c]
            spread += variance * rows / (rows - 1)
        running_mean[c] = keep * running_mean[c] + (f32(1.0) - keep) * f32(middle / runs)
        running_variance[c] = keep * running_variance[c] + (f32(1.0) - keep) * f32(spread / runs)


@kernel
def frozen(lo: int, hi: int, slot: int, mean: F2, rstd: F2, running_mean: F1, running_variance: F1, epsilon: float):
    """The running statistics in place of a batch's."""
    for c in range(mean.size):
        mean[0, c] = running_mean[c]
        rstd[0, c] = f32(1.0) / math.sqrt(running_variance[c] + epsilon)


@kernel
def normalise(lo: int, hi: int, slot: int, x: F1, weight: F1, bias: F1, mean: F2, rstd: F2, y: F1, rows: int, *, BLOCK):
    """y = (x - mean) rstd weight + bias; a unit is a block of rows."""
    runs, channels = mean.shape
    table, out = x.reshape(runs * rows, channels), y.reshape(runs * rows, channels)
    for i in range(lo * BLOCK, min(hi * BLOCK, runs * rows)):
        source, target, centre, scale = table[i], out[i], mean[i // rows], rstd[i // rows]
        for c in range(channels):
            target[c] = (source[c] - centre[c]) * scale[c] * weight[c] + bias[c]


@kernel
def slopes(lo: int, hi: int, slot: int, dy: F1, x: F1, mean: F2, rstd: F2, work: F1, rows: int, *, SEGMENTS, BLOCK):
    """work[segment] = the sums of dy and of dy times the normalised input."""
    runs, channels = mean.shape
    table, grads = x.reshape(runs * rows, channels), dy.reshape(runs * rows, channels)
    for unit in range(lo, hi):
        run, segment = unit // SEGMENTS, unit % SEGMENTS
        mine = work[4 * unit * channels : (4 * unit + 4) * channels].reshape(4, channels)
        total, along, part, part_along = mine[0], mine[1], mine[2], mine[3]
        centre, scale = mean[run], rstd[run]
        for c in range(channels):
            total[c] = along[c] = f32(0.0)
        last = (segment + 1) * rows // SEGMENTS
        for first in range(segment * rows // SEGMENTS, last, BLOCK):
            for c in range(channels):
                part[c] = part_along[c] = f32(0.0)
            for i in range(first, min(first + BLOCK, last)):
                row, grad = table[run * rows + i], grads[run * rows + i]
                for c in range(channels):
                    part[c] += grad[c]
                    part_along[c] += grad[c] * (row[c] - centre[c]) * scale[c]
            for c in range(channels):
                total[c] += part[c]
                along[c] += part_along[c]


@kernel
def add_slopes(lo: int, hi: int, slot: int, dweight: F1, dbias: F1, work: F1, runs: int, rows: int, *, SEGMENTS):
    """The segments' sums added in order: dbias and dweight, and in the runs' first segments their means."""
    channels = dweight.size
    for c in range(channels):
        all_total, all_along = 0.0, 0.0
        for run in range(runs):
            total, along = 0.0, 0.0
            for segment in range(SEGMENTS):
                at = 4 * (run * SEGMENTS + segment) * channels + c
                total += work[at]
                along += work[at + channels]
            first = 4 * run * SEGMENTS * channels + c
            work[first] = total / rows
            work[first + channels] = along / rows
            all_total += total
            all_along += along
        dbias[c] = all_total
        dweight[c] = all_along


@kernel
def batch_norm_grad(
    lo: int, hi: int, slot: int, dy: F1, x: F1, weight: F1, mean: F2, rstd: F2, dx: F1, work: F1, rows: int, *,
    SEGMENTS, BLOCK, BATCH,
):  # fmt: skip
    """dx = weight rstd (dy - mean of dy - normalised mean of (dy normalised)); a unit is a block of rows."""
    runs, channels = mean.shape
    shape = (runs * rows, channels)
    table, grads, out = x.reshape(shape), dy.reshape(shape), dx.reshape(shape)
    for i in range(lo * BLOCK, min(hi * BLOCK, runs * rows)):
        run = i // rows
        source, grad, target, centre, scale = table[i], grads[i], out[i], mean[run], rstd[run]
        first = 4 * run * SEGMENTS * channels
        total, along = work[first : first + channels], work[first + channels : first + 2 * channels]
        for c in range(channels):
            if BATCH:
                normal = (source[c] - centre[c]) * scale[c]
                target[c] = (grad[c] - total[c] - normal * along[c]) * scale[c] * weight[c]
            else:
                target[c] = grad[c] * scale[c] * weight[c]


class BatchNorm(Offer):
    """``batch_norm`` and its gradient, for maps and vectors."""

    heads = ("batch_norm", "batch_norm_grad")

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        return [rows_of(t) for t in operands], [rows_of(t) for t in results]

    def _runs(self, op: Op, x: TensorType) -> tuple[int, int]:
        """How many runs of images share statistics, and how many rows a run has."""
        over = op.attrs["over"] if op.attrs["stats"] == "batch" else None
        runs = x.shape[0] // over if over else 1
        return runs, x.elements // x.shape[1] // runs

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        grad = op.kind == "batch_norm_grad"
        x = operands[1 if grad else 0]
        runs, _ = self._runs(op, x)
        sums = padded(runs * SEGMENTS * (4 if grad else 2) * x.shape[1])
        return (Strategy("", 4 * sums if grad or op.attrs["stats"] == "batch" else 0),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        made = [f"%{r.name}" for r in op.results]
        batch, cut = op.attrs["stats"] == "batch", {"SEGMENTS": SEGMENTS, "BLOCK": BLOCK}
        runs, rows = self._runs(op, operands[1 if op.kind == "batch_norm_grad" else 0])
        blocks = -(-runs * rows // BLOCK)
        if op.kind == "batch_norm_grad":
            dy, x, weight, mean, rstd = names
            dx, dweight, dbias = made
            last = (dy, x, weight, mean, rstd, dx, "workspace", rows)
            return [
                Call(slopes, (dy, x, mean, rstd, "workspace", rows), runs * SEGMENTS, cut),
                Call(add_slopes, (dweight, dbias, "workspace", runs, rows), 1, {"SEGMENTS": SEGMENTS}),
                Call(batch_norm_grad, last, blocks, {**cut, "BATCH": batch}),
            ]
        x, weight, bias = names[:3]
        y, mean, rstd, running_mean, running_variance = made
        epsilon = float(op.attrs["epsilon"])
        statistics = [Call(frozen, (mean, rstd, running_mean, running_variance, epsilon), 1)]
        if batch:
            numbers = (rows, float(op.attrs["momentum"]), epsilon)
            args = (mean, rstd, running_mean, running_variance, "workspace", *numbers)
            statistics = [
                Call(sums, (x, mean, "workspace", rows), runs * SEGMENTS, {**cut, "SQUARES": False}),
                Call(means, (mean, "workspace", rows), runs, {"SEGMENTS": SEGMENTS}),
                Call(sums, (x, mean, "workspace", rows), runs * SEGMENTS, {**cut, "SQUARES": True}),
                Call(deviations, args, 1, {"SEGMENTS": SEGMENTS}),
            ]
        return [*statistics, Call(normalise, (x, weight, bias, mean, rstd, y, rows), blocks, {"BLOCK": BLOCK}, grain=4)]
