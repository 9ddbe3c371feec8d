"""Convolution as it stands: im2col by tiles of output rows and a BLAS product per tile, channels last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import Registry, Types
from alexdsl_cpu.conv.shape import Shape
from alexdsl_cpu.dialect import F1, F2, F4, Function, N, T, f32, sgemm
from alexdsl_cpu.offer import Args, Call, padded, per_worker, tail, with_extra

TILE = 1 << 19
"""float32 numbers of a tile of windows (2 MiB): large enough for BLAS, small enough for a core's caches."""
SEGMENTS = 8
"""Parts of the batch whose weight gradients are summed apart, then added in order; fixed, so that sums do not depend
on the number of workers."""
RATE, COPIES = 70e9, 5e9
"""Of one core, for the cost: multiply-adds, and bytes of windows written and read again, in a second."""


@kernel
def im2col(x: F4, n, first, count, width, channel, channels, col: F1, kh, kw, sh, sw, dh, dw, top, left):
    """col[pixel, (ky, kx, c)] of ``count`` output pixels from ``first`` on; outside of the image lie zeros."""
    height, wide, total = x.shape[1], x.shape[2], x.shape[3]
    image = x[n].reshape(height * wide * total)
    # A window's row is one run of memory if it takes all channels of neighbours, otherwise each of its pixels is.
    whole = dw == 1 and channels == total
    runs, run = (1, kw * channels) if whole else (kw, channels)
    # Unsigned places: of others the compiled code would ask whether they are negative, five times slower.
    at = np.uint64(0)
    oy, ox = first // width, first % width
    for _ in range(count):
        for ky in range(kh):
            iy = oy * sh + ky * dh - top
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
        ox += 1
        if ox == width:
            oy, ox = oy + 1, 0


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
            im2col(x, n, first * width, rows * width, width, g * inputs, inputs, col, kh, kw, sh, sw, dh, dw, top, left)
            group, filters = out[g * outputs :], weight[g * outputs :]
            sgemm(N, T, rows * width, outputs, window, 1.0, col, window, filters, window, 0.0, group, maps)
        extra = other[n, first : first + rows].reshape(rows * width * maps)
        if BIAS:
            for pixel in range(rows * width):
                target = out[pixel * maps : (pixel + 1) * maps]
                for c in range(maps):
                    target[c] += bias[c]
        # By itself: rows of few maps are too short to be done in vectors, all of them together are not.
        for i in range(rows * width * maps):
            out[i] = EPILOGUE(out[i], extra[i])


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
                    im2col(
                        x,
                        n,
                        first * width,
                        rows * width,
                        width,
                        g * inputs,
                        inputs,
                        col,
                        kh,
                        kw,
                        sh,
                        sw,
                        dh,
                        dw,
                        top,
                        left,
                    )
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


NAME = "im2col"


def strategies(shape: Shape, results: Types) -> Sequence[Strategy]:
    """The one way of computing an op by windows."""
    workspace = per_worker(_rows(shape) * shape.columns.out * shape.window)
    units = {"conv": shape.images * -(-shape.rows.out // _rows(shape)), "conv_input_grad": shape.images}
    if shape.head == "conv_weight_grad":
        workspace += 4 * SEGMENTS * padded(sum(t.elements for t in results))
    # One unit leaves all cores but one idle.
    idle = 2.0 if units.get(shape.head) == 1 else 1.0
    return (Strategy(NAME, workspace, idle * (shape.multiply_adds / RATE + 4 * shape.copied / COPIES)),)


def calls(op: Op, shape: Shape, results: Types, registry: Registry) -> Sequence[Call]:
    """The kernel calls of an op."""
    rows, columns, tile = shape.rows, shape.columns, _rows(shape)
    share = padded(tile * columns.out * shape.window)
    names = [f"%{name}" for name in op.operands]
    if shape.head == "conv_weight_grad":
        part = padded(sum(t.elements for t in results))
        made, bias, block = [f"%{r.name}" for r in op.results], len(results) == 2, 4096
        args: Args = (*names, "workspace", shape.groups, tile, share, shape.window, SEGMENTS, part, *shape.geometry)
        added: Args = (made[0], made[-1], "workspace", SEGMENTS, part)
        return [
            Call(conv_weight_grad, args, SEGMENTS, {"BIAS": bias}),
            Call(add_segments, added, -(-results[0].elements // block) + 1, {"BLOCK": block, "BIAS": bias}, grain=8),
        ]
    epilogue, result = tail(op, registry), f"%{op.name}"
    other = names[-1] if len(epilogue.args) == 2 else result
    constants = {"EPILOGUE": with_extra(epilogue)}
    if shape.head == "conv_input_grad":
        args = (*names[:2], other, result, "workspace", shape.groups, tile, share, *shape.geometry)
        return [Call(conv_input_grad, args, shape.images, constants)]
    tiles = -(-rows.out // tile)
    arrays = (names[0], names[1], names[2] if shape.bias else names[1], other, result, "workspace")
    args = (*arrays, shape.groups, tile, tiles, share, *shape.geometry)
    return [Call(conv, args, shape.images * tiles, {**constants, "BIAS": shape.bias})]


def _rows(shape: Shape) -> int:
    """Output rows whose windows make a tile."""
    return max(1, min(shape.rows.out, TILE // (shape.columns.out * shape.window)))
