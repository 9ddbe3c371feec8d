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
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.ir.types import TensorType
from alexdsl_cpu.dialect import F1, F2, Function, f32
from alexdsl_cpu.offer import Call, Constants, Offer, head_attrs, is_tail, padded, rows_of, tail, with_extra

SEGMENTS = 32
"""Parts of a run, summed apart; fixed, so that sums do not depend on the number of workers."""
BLOCK = 64
"""Rows whose sums are made before they join a segment's; also the rows of a unit of the last pass."""


@kernel
def moments(lo: int, hi: int, slot: int, x: F1, work: F1, runs: int, rows: int, *, SEGMENTS, BLOCK):
    """work[segment] = the mean of x's rows and the sum of their squared distances from it, block after block merged by
    Chan, Golub and LeVeque's rule: a block is read twice while it is in a cache, the maps once."""
    channels = x.size // (runs * rows)
    table = x.reshape(runs * rows, channels)
    for unit in range(lo, hi):
        run, segment = unit // SEGMENTS, unit % SEGMENTS
        mine = work[unit * 4 * channels : (unit + 1) * 4 * channels].reshape(4, channels)
        middle, spread, part, squares = mine[0], mine[1], mine[2], mine[3]
        for c in range(channels):
            middle[c] = spread[c] = f32(0.0)
        begin, last = segment * rows // SEGMENTS, (segment + 1) * rows // SEGMENTS
        for first in range(begin, last, BLOCK):
            end = min(first + BLOCK, last)
            for c in range(channels):
                part[c] = squares[c] = f32(0.0)
            for i in range(first, end):
                row = table[run * rows + i]
                for c in range(channels):
                    part[c] += row[c]
            share = f32(1.0) / f32(end - first)
            for c in range(channels):
                part[c] *= share
            for i in range(first, end):
                row = table[run * rows + i]
                for c in range(channels):
                    squares[c] += (row[c] - part[c]) * (row[c] - part[c])
            weight = f32(end - first) / f32(end - begin)
            apart = weight * f32(first - begin)
            for c in range(channels):
                step = part[c] - middle[c]
                middle[c] += step * weight
                spread[c] += squares[c] + step * step * apart


@kernel
def statistics(
    lo: int, hi: int, slot: int, mean: F2, rstd: F2, running_mean: F1, running_variance: F1, work: F1, rows: int,
    momentum: float, epsilon: float, *, SEGMENTS,
):  # fmt: skip
    """Every run's mean and 1 / sqrt(variance + epsilon), its segments merged in order, and a step of the running
    statistics."""
    runs, channels = mean.shape
    keep = momentum
    for c in range(channels):
        middles, spreads = 0.0, 0.0
        for run in range(runs):
            middle, spread = 0.0, 0.0
            for segment in range(SEGMENTS):
                begin, end = segment * rows // SEGMENTS, (segment + 1) * rows // SEGMENTS
                if end > begin:
                    at = (run * SEGMENTS + segment) * 4 * channels + c
                    step = work[at] - middle
                    middle += step * (end - begin) / end
                    spread += work[at + channels] + step * step * begin * (end - begin) / end
            mean[run, c] = middle
            rstd[run, c] = 1.0 / math.sqrt(spread / rows + epsilon)
            middles += middle
            spreads += spread / (rows - 1)
        running_mean[c] = keep * running_mean[c] + (f32(1.0) - keep) * f32(middles / runs)
        running_variance[c] = keep * running_variance[c] + (f32(1.0) - keep) * f32(spreads / runs)


@kernel
def frozen(lo: int, hi: int, slot: int, mean: F2, rstd: F2, running_mean: F1, running_variance: F1, epsilon: float):
    """The running statistics in place of a batch's."""
    for c in range(mean.size):
        mean[0, c] = running_mean[c]
        rstd[0, c] = f32(1.0) / math.sqrt(running_variance[c] + epsilon)


@kernel
def normalise(
    lo: int, hi: int, slot: int, x: F1, weight: F1, bias: F1, mean: F2, rstd: F2, other: F1, y: F1, rows: int, *, BLOCK,
    EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE((x - mean) rstd weight + bias); a unit is a block of rows."""
    runs, channels = mean.shape
    shape = (runs * rows, channels)
    table, extras, out = x.reshape(shape), other.reshape(shape), y.reshape(shape)
    for i in range(lo * BLOCK, min(hi * BLOCK, runs * rows)):
        source, extra, target, centre, scale = table[i], extras[i], out[i], mean[i // rows], rstd[i // rows]
        for c in range(channels):
            target[c] = EPILOGUE((source[c] - centre[c]) * scale[c] * weight[c] + bias[c], extra[c])


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
    """``batch_norm``, with an epilogue of elementwise kinds with at most one further operand, and its gradient; for
    maps and vectors."""

    heads = ("batch_norm", "batch_norm_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "batch_norm" and is_tail(chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        return [rows_of(t) for t in operands], [rows_of(t) for t in results]

    def _runs(self, op: Op, x: TensorType) -> tuple[int, int]:
        """How many runs of images share statistics, and how many rows a run has."""
        attrs = head_attrs(op)
        over = attrs["over"] if attrs["stats"] == "batch" else None
        runs = x.shape[0] // over if over else 1
        return runs, x.elements // x.shape[1] // runs

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        grad = op.kind == "batch_norm_grad"
        x = operands[1 if grad else 0]
        runs, _ = self._runs(op, x)
        sums = padded(runs * SEGMENTS * 4 * x.shape[1])
        return (Strategy("", 4 * sums if grad or head_attrs(op)["stats"] == "batch" else 0),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        attrs = head_attrs(op)
        batch, cut = attrs["stats"] == "batch", {"SEGMENTS": SEGMENTS, "BLOCK": BLOCK}
        runs, rows = self._runs(op, operands[1 if op.kind == "batch_norm_grad" else 0])
        blocks = -(-runs * rows // BLOCK)
        if op.kind == "batch_norm_grad":
            dy, x, weight, mean, rstd = names
            dx, dweight, dbias = (f"%{r.name}" for r in op.results)
            last = (dy, x, weight, mean, rstd, dx, "workspace", rows)
            return [
                Call(slopes, (dy, x, mean, rstd, "workspace", rows), runs * SEGMENTS, cut),
                Call(add_slopes, (dweight, dbias, "workspace", runs, rows), 1, {"SEGMENTS": SEGMENTS}),
                Call(batch_norm_grad, last, blocks, {**cut, "BATCH": batch}),
            ]
        x, weight, bias = names[:3]
        # With an epilogue, what it makes stands behind what batch_norm alone makes beside y.
        made = [f"%{r.name}" for r in op.results]
        y, mean, rstd, running_mean, running_variance = made if op.kind == "batch_norm" else (made[-1], *made[:-1])
        epilogue, epsilon = tail(op, self.registry), float(attrs["epsilon"])
        found = [Call(frozen, (mean, rstd, running_mean, running_variance, epsilon), 1)]
        if batch:
            args = (mean, rstd, running_mean, running_variance, "workspace", rows, float(attrs["momentum"]), epsilon)
            found = [
                Call(moments, (x, "workspace", runs, rows), runs * SEGMENTS, cut),
                Call(statistics, args, 1, {"SEGMENTS": SEGMENTS}),
            ]
        other = names[-1] if len(epilogue.args) == 2 else y
        constants: Constants = {"BLOCK": BLOCK, "EPILOGUE": with_extra(epilogue)}
        return [*found, Call(normalise, (x, weight, bias, mean, rstd, other, y, rows), blocks, constants, grain=4)]
