"""Winograd's convolution on the CPU: tiles and filters are transformed, multiplied point by point, transformed back.

A tile of STEP x STEP outputs takes POINTS x POINTS products where a window after the other takes (STEP TAPS) squared.
The data gradient is the same with flipped filters, the weight gradient the transpose of the forward pass.
"""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cpu.dialect import F1, F2, F4, LANES, Function, f32, load, load_some, store, store_some
from alexdsl_cpu.product import product


@kernel
def read_tile(
    x: F4, tile, channel, count, sheet, size, scratch, y, to, apart, *, STEP, POINTS, SPREAD: Function, LAST: Function,
):  # fmt: skip
    """y[point, c] = SPREAD of ``size`` x ``size`` pixels of ``count`` channels; between images lie zeros.

    LAST is SPREAD, and says how the results are written. ``sheet``, here and below, says where the tiles lie: see
    ``sheet.py``.
    """
    down, across, tiles_down, tiles_across, tall, wide, top, left = sheet
    images, height, width, channels = x.shape
    flat = x.reshape(x.size)
    first, place = tile // (tiles_down * tiles_across) * down * across, tile % (tiles_down * tiles_across)
    row, column = place // tiles_across * STEP, place % tiles_across * STEP
    above, start_y = row // tall, row % tall - top
    before, start_x = column // wide, column % wide - left
    half = size * size * LANES
    for c in range(0, count, LANES):
        lanes = min(LANES, count - c)
        down_at, iy = above, start_y
        for i in range(size):
            across_at, ix = before, start_x
            for j in range(size):
                image = first + down_at * across + across_at
                inside = 0 <= iy < height and 0 <= ix < width and across_at < across and image < images
                # Sheets' last images may be missing below; those beyond the last row are another sheet's.
                inside = inside and down_at < down
                at = ((image * height + iy) * width + ix) * channels + channel + c if inside else 0
                store(scratch, (i * size + j) * LANES, load_some(flat, at, lanes if inside else 0))
                ix += 1
                if ix == wide - left:
                    across_at, ix = across_at + 1, -left
            iy += 1
            if iy == tall - top:
                down_at, iy = down_at + 1, -top
        for j in range(size):
            SPREAD(scratch, j * LANES, size * LANES, scratch, half + j * LANES, size * LANES)
        for i in range(POINTS):
            LAST(scratch, half + i * size * LANES, LANES, y, to + i * POINTS * apart + c, apart)


@kernel
def write_tile(
    x, at, apart, y: F4, other: F4, bias: F1, tile, channel, count, sheet, scratch, *, STEP, POINTS, WIDE,
    GATHER: Function, BIAS, EPILOGUE: Function,
):  # fmt: skip
    """STEP x STEP pixels of y = EPILOGUE(GATHER of x[point, c] + bias), those that belong to an image."""
    down, across, tiles_down, tiles_across, tall, wide, _, _ = sheet
    images, height, width, channels = y.shape
    flat, extra = y.reshape(y.size), other.reshape(y.size)
    first, place = tile // (tiles_down * tiles_across) * down * across, tile % (tiles_down * tiles_across)
    row, column = place // tiles_across * STEP, place % tiles_across * STEP
    half = STEP * POINTS * LANES
    for c in range(0, count, LANES):
        for j in range(POINTS):
            GATHER(x, at + j * apart + c, POINTS * apart, scratch, j * LANES, POINTS * LANES)
        for i in range(STEP):
            GATHER(scratch, i * POINTS * LANES, LANES, scratch, half + i * STEP * WIDE + c, WIDE)
    for i in range(STEP):
        down_at, oy = (row + i) // tall, (row + i) % tall
        for j in range(STEP):
            across_at, ox = (column + j) // wide, (column + j) % wide
            image = first + down_at * across + across_at
            if oy < height and ox < width and down_at < down and across_at < across and image < images:
                pixel = ((image * height + oy) * width + ox) * channels + channel
                source = scratch[half + (i * STEP + j) * WIDE :]
                target, more = flat[pixel : pixel + count], extra[pixel : pixel + count]
                for c in range(count):
                    target[c] = EPILOGUE(source[c] + bias[channel + c] if BIAS else source[c], more[c])


@kernel
def winograd_filters(
    lo: int, hi: int, slot: int, weight: F2, work: F1, filters: int, channels: int, broad: int, start: int, share: int,
    *, TAPS, POINTS, WIDE, TURNED, SPREAD: Function, LAST: Function, DEPTHS,
):  # fmt: skip
    """work[group, panel, point, depth, WIDE] = SPREAD of the filters, flipped if TURNED; a unit is DEPTHS of a panel.

    The depth is what products sum over: the channels of a group, or, TURNED, its ``filters``.
    """
    depth, columns = (filters, channels) if TURNED else (channels, filters)
    window, panels, parts = TAPS * TAPS * channels, broad // WIDE, (depth + DEPTHS - 1) // DEPTHS
    scratch = work[start + slot * share : start + (slot + 1) * share]
    flat, half = weight.reshape(weight.size), TAPS * TAPS * LANES
    # A cache line more than the numbers: else all points of a filter fall on the same set of the caches.
    apart = depth * WIDE + LANES
    read = scratch[half + TAPS * POINTS * LANES :]
    for unit in range(lo, hi):
        group, panel, part = unit // (panels * parts), unit // parts % panels, unit % parts
        for near in range(part * DEPTHS, min((part + 1) * DEPTHS, depth), LANES):
            some = min(LANES, depth - near)
            for first in range(panel * WIDE, (panel + 1) * WIDE, LANES):
                lanes = max(0, min(LANES, columns - first))
                if not TURNED:
                    # Filters lie far apart: of each so many channels are read at once.
                    for lane in range(LANES):
                        count = some if lane < lanes else 0
                        at = (group * filters + first + lane) * window + near if count else 0
                        for tap in range(TAPS * TAPS):
                            store(read, (tap * LANES + lane) * LANES, load_some(flat, at, count))
                            at += channels
                to = (group * panels + panel) * POINTS * POINTS * apart + near * WIDE + first - panel * WIDE
                for k in range(some):
                    for tap in range(TAPS * TAPS):
                        if TURNED:
                            at = (group * filters + near + k) * window + tap * channels + first
                            here = (TAPS * TAPS - 1 - tap) * LANES
                            store(scratch, here, load_some(flat, at if lanes else 0, lanes))
                        else:
                            for lane in range(LANES):
                                scratch[tap * LANES + lane] = read[(tap * LANES + lane) * LANES + k]
                    for j in range(TAPS):
                        SPREAD(scratch, j * LANES, TAPS * LANES, scratch, half + j * LANES, TAPS * LANES)
                    for i in range(POINTS):
                        LAST(scratch, half + i * TAPS * LANES, LANES, work, to + i * POINTS * apart + k * WIDE, apart)


@kernel
def winograd(
    lo: int, hi: int, slot: int, x: F4, bias: F1, other: F4, y: F4, work: F1, groups: int, tiles: int, block: int,
    start: int, share: int, down: int, across: int, tiles_down: int, tiles_across: int, tall: int, wide: int, top: int,
    left: int, *, STEP, POINTS, SPREAD: Function, LAST: Function, GATHER: Function, ROWS, WIDE, BLOCK: Function, BIAS,
    EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(the correlation of x with the transformed filters + bias); a unit is a block of tiles."""
    inputs, outputs = x.shape[3] // groups, y.shape[3] // groups
    deep, broad, points = -(-inputs // LANES) * LANES, -(-outputs // WIDE) * WIDE, POINTS * POINTS
    sheet = (down, across, tiles_down, tiles_across, tall, wide, top, left)
    mine = work[start + slot * share : start + (slot + 1) * share]
    # As for the filters, a cache line more than the numbers.
    apart, spacing, between = block * deep + LANES, block * WIDE + LANES, inputs * WIDE + LANES
    spread, sums, scratch = mine, mine[points * apart :], mine[points * (apart + spacing) :]
    for unit in range(lo, hi):
        first = unit * block
        count = min(block, tiles - first)
        for g in range(groups):
            for t in range(count):
                read_tile(x, first + t, g * inputs, inputs, sheet, POINTS, scratch, spread, t * deep, apart)
            for j in range(0, outputs, WIDE):
                filters = work[(g * broad + j) // WIDE * points * between :]
                for p in range(points):
                    panel, result = filters[p * between :], sums[p * spacing :]
                    product(spread[p * apart :], deep, 1, panel, WIDE, result, WIDE, count, WIDE, inputs, False)
                channel, lanes = g * outputs + j, min(WIDE, outputs - j)
                for t in range(count):
                    write_tile(sums, t * WIDE, spacing, y, other, bias, first + t, channel, lanes, sheet, scratch)


@kernel
def winograd_tiles(
    lo: int, hi: int, slot: int, x: F4, work: F1, first: int, count: int, channel: int, channels: int, size: int,
    to: int, row: int, apart: int, start: int, share: int, down: int, across: int, tiles_down: int, tiles_across: int,
    tall: int, wide: int, top: int, left: int, *, STEP, POINTS, SPREAD: Function, LAST: Function, TILES,
):  # fmt: skip
    """work[point, tile, c] from ``to`` on = SPREAD of ``count`` tiles from ``first`` on; a unit is TILES of them."""
    sheet = (down, across, tiles_down, tiles_across, tall, wide, top, left)
    scratch = work[start + slot * share : start + (slot + 1) * share]
    for t in range(lo * TILES, min(hi * TILES, count)):
        read_tile(x, first + t, channel, channels, sheet, size, scratch, work, to + t * row, apart)


@kernel
def winograd_points(
    lo: int, hi: int, slot: int, work: F1, count: int, spread: int, deep: int, spread_apart: int, filters: int,
    panels: int, points: int, inputs: int, to: int, broad: int, apart: int, *, ROWS, WIDE, BLOCK: Function,
):  # fmt: skip
    """The products of ``count`` tiles' points, [tile, inputs], and the filters'; a unit is a panel of a point."""
    between = inputs * WIDE + LANES
    for unit in range(lo, hi):
        p, panel = unit // panels, unit % panels
        columns = work[filters + (panel * points + p) * between :]
        result = work[to + p * apart + panel * WIDE :]
        product(work[spread + p * spread_apart :], deep, 1, columns, WIDE, result, broad, count, WIDE, inputs, False)


@kernel
def winograd_back(
    lo: int, hi: int, slot: int, bias: F1, other: F4, y: F4, work: F1, first: int, count: int, channel: int,
    channels: int, products: int, broad: int, apart: int, start: int, share: int, down: int, across: int,
    tiles_down: int, tiles_across: int, tall: int, wide: int, top: int, left: int, *, STEP, POINTS, WIDE,
    GATHER: Function, BIAS, EPILOGUE: Function, TILES,
):  # fmt: skip
    """y = EPILOGUE(the products of ``count`` tiles transformed back + bias); a unit is TILES of them."""
    sheet = (down, across, tiles_down, tiles_across, tall, wide, top, left)
    scratch = work[start + slot * share : start + (slot + 1) * share]
    for t in range(lo * TILES, min(hi * TILES, count)):
        for j in range(0, channels, WIDE):
            at, lanes = products + t * broad + j, min(WIDE, channels - j)
            write_tile(work, at, apart, y, other, bias, first + t, channel + j, lanes, sheet, scratch)


@kernel
def winograd_sums(
    lo: int, hi: int, slot: int, work: F1, count: int, grads: int, deep: int, grads_apart: int, spread: int, broad: int,
    spread_apart: int, to: int, apart: int, bias: int, filters: int, add: int, *, ROWS, WIDE, BLOCK: Function, ONES,
):  # fmt: skip
    """The products of gradients' and inputs' points, [filter, c], added up over ``count`` tiles; a unit is a point.

    The point of ones holds every tile's sum of gradients: added up, the gradient of the bias.
    """
    for p in range(lo, hi):
        grad, source, target = (
            work[grads + p * grads_apart :],
            work[spread + p * spread_apart :],
            work[to + p * apart :],
        )
        product(grad, 1, deep, source, broad, target, broad, filters, broad, count, add != 0)
        if p == ONES:
            total = work[bias : bias + deep]
            if not add:
                for c in range(deep):
                    total[c] = f32(0.0)
            for t in range(count):
                row = grad[t * deep : (t + 1) * deep]
                for c in range(deep):
                    total[c] += row[c]


@kernel
def winograd_fold(
    lo: int, hi: int, slot: int, dw: F2, db: F1, work: F1, sums: int, broad: int, apart: int, bias: int, channels: int,
    first: int, start: int, share: int, *, TAPS, POINTS, GATHER: Function, BIAS,
):  # fmt: skip
    """dw = GATHER of the sums [point, filter, c]; a unit is a filter, and with it its bias."""
    flat, scratch = dw.reshape(dw.size), work[start + slot * share : start + (slot + 1) * share]
    half = TAPS * POINTS * LANES
    for unit in range(lo, hi):
        for c in range(0, channels, LANES):
            for j in range(POINTS):
                at = sums + j * apart + unit * broad + c
                GATHER(work, at, POINTS * apart, scratch, j * LANES, POINTS * LANES)
            for i in range(TAPS):
                GATHER(scratch, i * POINTS * LANES, LANES, scratch, half + i * TAPS * LANES, LANES)
            for tap in range(TAPS * TAPS):
                at = ((first + unit) * TAPS * TAPS + tap) * channels + c
                store_some(flat, at, load(scratch, half + tap * LANES), min(LANES, channels - c))
        if BIAS:
            db[first + unit] = work[bias + unit]
