"""Convolution on the CPU: im2col by tiles of output rows and a BLAS product per tile, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.window import Axis, axes
from alexdsl_cpu.dialect import F1, F2, F4, Function, N, T, f32, sgemm
from alexdsl_cpu.offer import (
    FILTERS,
    MAPS,
    Args,
    Call,
    Offer,
    extras,
    head_attrs,
    padded,
    per_worker,
    scalars,
    tail,
    with_extra,
)

TILE = 1 << 19
"""float32 numbers of a tile of windows (2 MiB): large enough for BLAS, small enough for a core's caches."""
SEGMENTS = 8
"""Parts of the batch whose weight gradients are summed apart, then added in order; fixed, so that sums do not depend
on the number of workers."""


@kernel
def im2col(x: F4, n, first, rows, width, channel, channels, col: F1, kh, kw, sh, sw, dh, dw, top, left):
    """col[pixel, (ky, kx, c)] of output rows ``first`` up to ``first + rows``; outside of the image lie zeros."""
    height, wide, total = x.shape[1], x.shape[2], x.shape[3]
    image = x[n].reshape(height * wide * total)
    # A window's row is one run of memory if it takes all channels of neighbours, otherwise each of its pixels is.
    whole = dw == 1 and channels == total
    runs, run = (1, kw * channels) if whole else (kw, channels)
    # Unsigned places: of others the compiled code would ask whether they are negative, five times slower.
    at = np.uint64(0)
    for row in range(rows):
        for ox in range(width):
            for ky in range(kh):
                iy = (first + row) * sh + ky * dh - top
                for kx in range(runs):
                    ix = ox * sw - left + kx * dw
                    begin, end = 0, run
                    if iy < 0 or iy >= height or (not whole and (ix < 0 or ix >= wide)):
                        end = 0
                    elif whole:
                        begin = min(kw, max(0, -ix)) * channels
                        end = max(begin, min(kw, wide - ix) * channels)
                    source = np.uint64((iy * wide + ix) * total + channel)
                    for i in range(begin):
                        col[at + np.uint64(i)] = f32(0.0)
                    for i in range(begin, end):
                        col[at + np.uint64(i)] = image[source + np.uint64(i)]
                    for i in range(end, run):
                        col[at + np.uint64(i)] = f32(0.0)
                    at += np.uint64(run)


@kernel
def col2im(col: F1, dx: F4, n, first, rows, width, channel, channels, kh, kw, sh, sw, dh, dw, top, left):
    """The transpose of im2col: adds col[pixel, (ky, kx, c)] to the pixels that the windows were read from."""
    height, wide, total = dx.shape[1], dx.shape[2], dx.shape[3]
    image = dx[n].reshape(height * wide * total)
    whole = dw == 1 and channels == total
    runs, run = (1, kw * channels) if whole else (kw, channels)
    at = np.uint64(0)
    for row in range(rows):
        for ox in range(width):
            for ky in range(kh):
                iy = (first + row) * sh + ky * dh - top
                for kx in range(runs):
                    ix = ox * sw - left + kx * dw
                    begin, end = 0, run
                    if iy < 0 or iy >= height or (not whole and (ix < 0 or ix >= wide)):
                        end = 0
                    elif whole:
                        begin = min(kw, max(0, -ix)) * channels
                        end = max(begin, min(kw, wide - ix) * channels)
                    target = np.uint64((iy * wide + ix) * total + channel)
                    for i in range(begin, end):
                        image[target + np.uint64(i)] += col[at + np.uint64(i)]
                    at += np.uint64(run)


@kernel
def conv(
    lo: int, hi: int, slot: int, x: F4, weight: F2, bias: F1, other: F4, y: F4, work: F1, groups: int, most_rows: int,
    tiles: int, share: int, kh: int, kw: int, sh: int, sw: int, dh: int, dw: int, top: int, left: int, *, BIAS,
    EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(conv(x) + bias); a unit is a tile of output rows of an image."""
    height, width, maps = y.shape[1], y.shape[2], y.shape[3]
    inputs, outputs, window = x.shape[3] // groups, maps // groups, weight.shape[1]
    col = work[slot * share : (slot + 1) * share]
    for unit in range(lo, hi):
        n, first = unit // tiles, unit % tiles * most_rows
        rows = min(most_rows, height - first)
        out = y[n, first : first + rows].reshape(rows * width * maps)
        for g in range(groups):
            im2col(x, n, first, rows, width, g * inputs, inputs, col, kh, kw, sh, sw, dh, dw, top, left)
            group, filters = out[g * outputs :], weight[g * outputs :]
            sgemm(N, T, rows * width, outputs, window, 1.0, col, window, filters, window, 0.0, group, maps)
        extra = other[n, first : first + rows].reshape(rows * width * maps)
        for pixel in range(rows * width):
            target, more = out[pixel * maps : (pixel + 1) * maps], extra[pixel * maps : (pixel + 1) * maps]
            for c in range(maps):
                target[c] = EPILOGUE(target[c] + bias[c] if BIAS else target[c], more[c])


@kernel
def conv_input_grad(
    lo: int, hi: int, slot: int, weight: F2, dy: F4, other: F4, dx: F4, work: F1, groups: int, most_rows: int,
    share: int, kh: int, kw: int, sh: int, sw: int, dh: int, dw: int, top: int, left: int, *, EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(the sum of dy's windows through the weights); a unit is an image, done by tiles of output rows."""
    height, width, maps = dy.shape[1], dy.shape[2], dy.shape[3]
    inputs, outputs, window = dx.shape[3] // groups, maps // groups, weight.shape[1]
    col = work[slot * share : (slot + 1) * share]
    for n in range(lo, hi):
        image = dx[n].reshape(dx.shape[1] * dx.shape[2] * dx.shape[3])
        for i in range(image.size):
            image[i] = f32(0.0)
        for first in range(0, height, most_rows):
            rows = min(most_rows, height - first)
            grad = dy[n, first : first + rows].reshape(rows * width * maps)
            for g in range(groups):
                group, filters = grad[g * outputs :], weight[g * outputs :]
                sgemm(N, N, rows * width, window, outputs, 1.0, group, maps, filters, window, 0.0, col, window)
                col2im(col, dx, n, first, rows, width, g * inputs, inputs, kh, kw, sh, sw, dh, dw, top, left)
        extra = other[n].reshape(image.size)
        for i in range(image.size):
            image[i] = EPILOGUE(image[i], extra[i])


@kernel
def conv_weight_grad(
    lo: int, hi: int, slot: int, x: F4, dy: F4, work: F1, groups: int, most_rows: int, share: int, window: int,
    segments: int, part: int, kh: int, kw: int, sh: int, sw: int, dh: int, dw: int, top: int, left: int, *, BIAS,
):  # fmt: skip
    """Sums of dy' x windows over each segment of the batch, one segment a unit: its weights, then its biases."""
    images, height, width, maps = dy.shape
    inputs, outputs = x.shape[3] // groups, maps // groups
    col = work[segments * part + slot * share : segments * part + (slot + 1) * share]
    for unit in range(lo, hi):
        total = work[unit * part : (unit + 1) * part]
        for i in range(part):
            total[i] = f32(0.0)
        sums = total[maps * window :]
        for n in range(unit * images // segments, (unit + 1) * images // segments):
            for first in range(0, height, most_rows):
                rows = min(most_rows, height - first)
                grad = dy[n, first : first + rows].reshape(rows * width * maps)
                for g in range(groups):
                    im2col(x, n, first, rows, width, g * inputs, inputs, col, kh, kw, sh, sw, dh, dw, top, left)
                    group, filters = grad[g * outputs :], total[g * outputs * window :]
                    sgemm(T, N, outputs, window, rows * width, 1.0, group, maps, col, window, 1.0, filters, window)
                if BIAS:
                    for pixel in range(rows * width):
                        row = grad[pixel * maps : (pixel + 1) * maps]
                        for c in range(maps):
                            sums[c] += row[c]


@kernel
def add_segments(lo: int, hi: int, slot: int, dw: F1, db: F1, work: F1, segments: int, part: int, *, BLOCK, BIAS):
    """The segments' sums added in order; a unit is a block of weights, the last one the biases."""
    blocks = -(-dw.size // BLOCK)
    for unit in range(lo, hi):
        if unit < blocks:
            begin, end = unit * BLOCK, min((unit + 1) * BLOCK, dw.size)
            target, first = dw[begin:end], work[begin:end]
            for i in range(end - begin):
                target[i] = first[i]
            for s in range(1, segments):
                more = work[s * part + begin : s * part + end]
                for i in range(end - begin):
                    target[i] += more[i]
        elif BIAS:
            for c in range(db.size):
                total = work[dw.size + c]
                for s in range(1, segments):
                    total += work[s * part + dw.size + c]
                db[c] = total


def window_sizes(rows: Axis, columns: Axis) -> tuple[int, ...]:
    """The window as im2col and col2im read it, from ``kh`` to ``left``."""
    pairs = ((a.kernel, a.stride, a.dilation, a.before) for a in (rows, columns))
    return tuple(size for pair in zip(*pairs, strict=True) for size in pair)


def tile_rows(rows: Axis, columns: Axis, window: int) -> int:
    """Output rows whose windows make a tile."""
    return max(1, min(rows.out, TILE // (columns.out * window)))


class Conv(Offer):
    """``conv`` and its two gradients; an epilogue takes elementwise kinds, with at most one further operand."""

    heads = ("conv", "conv_input_grad", "conv_weight_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name != "conv_weight_grad" and scalars(chain[1:]) and extras(chain[1:]) <= 1

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        head = op.kind.split("+")[0]
        given = [MAPS if len(t.shape) == 4 else "" for t in operands]
        weight = {"conv": 1, "conv_input_grad": 0}.get(head)
        if weight is not None:
            given[weight] = FILTERS
        made = [FILTERS, ""][: len(results)] if head == "conv_weight_grad" else [MAPS]
        return given, made

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        rows, columns, window = self._window(op, operands, results)
        tile = tile_rows(rows, columns, window) * columns.out * window
        workspace = per_worker(tile)
        if op.kind == "conv_weight_grad":
            workspace += 4 * SEGMENTS * padded(sum(t.elements for t in results))
        return (Strategy("im2col", workspace),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        rows, columns, window = self._window(op, operands, results)
        attrs = head_attrs(op)
        tile = tile_rows(rows, columns, window)
        share = padded(tile * columns.out * window)
        window_at = window_sizes(rows, columns)
        sizes = (attrs["groups"], tile)
        names = [f"%{name}" for name in op.operands]
        head = op.kind.split("+")[0]
        if head == "conv_weight_grad":
            return self._weight_grad(op, names, results, (*sizes, share, window), window_at)
        epilogue = tail(op, self.registry)
        result = f"%{op.name}"
        other = names[-1] if len(epilogue.args) == 2 else result
        constants = {"EPILOGUE": with_extra(epilogue)}
        if head == "conv_input_grad":
            images = operands[1].shape[0]
            args = (*names[:2], other, result, "workspace", *sizes, share, *window_at)
            return [Call(conv_input_grad, args, images, constants)]
        tiles = -(-rows.out // tile)
        bias = bool(attrs["bias"])
        arrays = (names[0], names[1], names[2] if bias else names[1], other, result, "workspace")
        args = (*arrays, *sizes, tiles, share, *window_at)
        return [Call(conv, args, operands[0].shape[0] * tiles, {**constants, "BIAS": bias})]

    def _weight_grad(
        self, op: Op, names: Sequence[str], results: Types, sizes: Sequence[int], window_at: Sequence[int],
    ) -> Sequence[Call]:  # fmt: skip
        bias, block = len(results) == 2, 4096
        part = padded(sum(t.elements for t in results))
        made = [f"%{r.name}" for r in op.results]
        args: Args = (*names, "workspace", *sizes, SEGMENTS, part, *window_at)
        sums = Call(conv_weight_grad, args, SEGMENTS, {"BIAS": bias})
        blocks = -(-results[0].elements // block)
        arrays = (made[0], made[-1], "workspace", SEGMENTS, part)
        add = Call(add_segments, arrays, blocks + 1, {"BLOCK": block, "BIAS": bias}, grain=8)
        return [sums, add]

    def _window(self, op: Op, operands: Types, results: Types) -> tuple[Axis, Axis, int]:
        """The window's axes and the numbers in one window of one group."""
        attrs = head_attrs(op)
        x: TensorType = results[0] if op.kind.startswith("conv_input_grad") else operands[0]
        rows, columns = axes(x.shape, attrs)
        return rows, columns, x.shape[1] // attrs["groups"] * prod(attrs["kernel"])
