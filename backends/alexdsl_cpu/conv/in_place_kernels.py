"""Kernels of convolutions that read windows where they lie; see ``in_place``."""

from __future__ import annotations

from alexdsl.ir.kernels import kernel
from alexdsl_cpu.dialect import (
    F1,
    F2,
    F4,
    LANES,
    Function,
    f32,
    load,
    load_some,
    prefetch,
    store,
    store_some,
    transpose,
)


@kernel
def columns_of_filters(
    lo: int, hi: int, slot: int, weight: F2, work: F1, maps: int, taps: int, parts: int, *, WIDE, TURNED,
):  # fmt: skip
    """work[panel, k, WIDE] = the filters' numbers, zeros after the last filter; a unit is a part of the k of a panel.

    TURNED: the filters of the input's gradient, one for each channel, their windows back to front.
    """
    window, flat = taps * weight.shape[0] if TURNED else weight.shape[1], weight.reshape(weight.size)
    for unit in range(lo, hi):
        panel, part = unit // parts, unit % parts
        begin, end = part * window // parts, (part + 1) * window // parts
        first = panel * WIDE
        count = min(WIDE, maps - first)
        squares = 0 if TURNED or count < WIDE else (end - begin) // LANES * LANES
        # Rows lie pages apart: each comes from memory in one go.
        for i in range(count if squares else 0):
            for k in range(begin, end, LANES):
                prefetch(flat, (first + i) * window + k)
        for k in range(begin, begin + squares, LANES):
            for i in range(0, WIDE, LANES):
                transpose(flat, (first + i) * window + k, window, work, (panel * window + k) * WIDE + i, WIDE)
        for k in range(begin + squares, end):
            row = work[(panel * window + k) * WIDE : (panel * window + k + 1) * WIDE]
            if TURNED:
                tap, o = taps - 1 - k // weight.shape[0], k % weight.shape[0]
                numbers = weight[o, tap * maps + first : tap * maps + first + count]
                for i in range(count):
                    row[i] = numbers[i]
            else:
                for i in range(count):
                    row[i] = weight[first + i, k]
            for i in range(count, WIDE):
                row[i] = f32(0.0)


@kernel
def copy_band(x: F4, n, first, rows, left, numbers, band):
    """band[rows, numbers] = rows of an image from ``first`` on, its numbers from ``left`` on, zeros beside it."""
    line = x.shape[2] * x.shape[3]
    image = x[n].reshape(x.shape[1] * line)
    count = min(numbers - left, line)
    for row in range(rows):
        out, y = band[row * numbers : (row + 1) * numbers], first + row
        if 0 <= y < x.shape[1]:
            given = image[y * line : y * line + count]
            for i in range(left):
                out[i] = f32(0.0)
            inner = out[left : left + count]
            for i in range(count):
                inner[i] = given[i]
            for i in range(left + count, numbers):
                out[i] = f32(0.0)
        else:
            for i in range(numbers):
                out[i] = f32(0.0)


@kernel
def conv_in_place(
    lo: int, hi: int, slot: int, x: F4, bias: F1, other: F4, y: F4, work: F1, bands: int, start: int, share: int,
    line: int, down: int, hop: int, stride: int, runs: int, depth: int, top: int, left: int, *, BAND, ROWS, WIDE,
    BLOCK: Function, CUT, BIAS, EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(conv(x) + bias); a unit is a band of output rows.

    A window is ``runs`` runs of ``depth`` numbers, ``down`` rows apart; windows are ``stride`` numbers apart, rows of
    windows ``hop`` rows. CUT: windows reach beyond the image, so that its rows are copied between zeros, ``line``
    numbers each, ``top`` rows and ``left`` numbers before it.
    """
    height, width, maps = y.shape[1], y.shape[2], y.shape[3]
    image, flat = x.shape[1] * x.shape[2] * x.shape[3], x.reshape(x.size)
    wide = (maps + WIDE - 1) // WIDE * WIDE
    sums = work[start + slot * share : start + (slot + 1) * share]
    band = sums[width * wide :]
    source = band if CUT else flat
    for unit in range(lo, hi):
        n, first = unit // bands, unit % bands * BAND
        rows = min(BAND, height - first)
        if CUT:
            copy_band(x, n, first * hop - top, (rows - 1) * hop + (runs - 1) * down + 1, left, line, band)
        begin = 0 if CUT else n * image + first * hop * line
        for oy in range(rows):
            at = begin + oy * hop * line
            for j in range(0, maps, WIDE):
                filters = work[j * runs * depth :]
                for i in range(0, width, ROWS):
                    # The last block reaches back: it makes some pixels twice, but reads whole windows.
                    ox = min(i, width - ROWS)
                    place, target = at + ox * stride, ox * wide + j
                    BLOCK(
                        source, place, stride, down * line, 1, filters, 0, WIDE, sums, target, wide, runs, depth, False,
                    )  # fmt: skip
            result, more = y[n, first + oy].reshape(width * maps), other[n, first + oy].reshape(width * maps)
            for pixel in range(width):
                for c in range(0, maps, LANES):
                    lanes, made = min(LANES, maps - c), load(sums, pixel * wide + c)
                    if BIAS:
                        made = made + load_some(bias, c, lanes)
                    store_some(result, pixel * maps + c, made, lanes)
            # By itself: rows of few maps are too short to be done in vectors, all of them together are not.
            for i in range(width * maps):
                result[i] = EPILOGUE(result[i], more[i])


@kernel
def weight_grad_in_place(
    lo: int, hi: int, slot: int, x: F4, dy: F4, work: F1, segments: int, part: int, share: int, line: int, down: int,
    hop: int, stride: int, runs: int, depth: int, top: int, left: int, *, BAND, ROWS, WIDE, BLOCK: Function, CUT, FEW,
    BIAS,
):  # fmt: skip
    """Sums over each segment of the batch, one segment a unit: [run, number of the window, filter], then biases.

    Each run's numbers are rounded up to whole blocks: the last block reaches back and sums some of them twice. FEW: the
    filters are no whole blocks, so that dy's rows are copied with zeros after the last. CUT: as in ``conv_in_place``.
    """
    images, height, width, maps = dy.shape
    image, flat, grads = x.shape[1] * x.shape[2] * x.shape[3], x.reshape(x.size), dy.reshape(dy.size)
    wide, blocks = (maps + WIDE - 1) // WIDE * WIDE, (depth + ROWS - 1) // ROWS
    mine = work[segments * part + slot * share : segments * part + (slot + 1) * share]
    filled, band = mine, mine[BAND * width * wide :] if FEW else mine
    source, slopes = band if CUT else flat, filled if FEW else grads
    for unit in range(lo, hi):
        total = work[unit * part : (unit + 1) * part]
        for i in range(part):
            total[i] = f32(0.0)
        sums = total[runs * blocks * ROWS * wide :]
        for n in range(unit * images // segments, (unit + 1) * images // segments):
            for first in range(0, height, BAND):
                rows = min(BAND, height - first)
                grad = (n * height + first) * width * maps
                if CUT:
                    copy_band(x, n, first * hop - top, (rows - 1) * hop + (runs - 1) * down + 1, left, line, band)
                if FEW:
                    for pixel in range(rows * width):
                        for c in range(0, wide, LANES):
                            few = load_some(grads, grad + pixel * maps + c, max(0, min(LANES, maps - c)))
                            store(filled, pixel * wide + c, few)
                begin, slope = 0 if CUT else n * image + first * hop * line, 0 if FEW else grad
                for run in range(runs):
                    for b in range(blocks):
                        place = begin + run * down * line + min(b * ROWS, depth - ROWS)
                        for j in range(0, maps, WIDE):
                            target = (run * blocks + b) * ROWS * wide + j
                            BLOCK(
                                source, place, 1, hop * line, stride, slopes, slope + j, wide, total, target, wide,
                                rows, width, True,
                            )  # fmt: skip
                if BIAS:
                    for pixel in range(rows * width):
                        row = grads[grad + pixel * maps : grad + (pixel + 1) * maps]
                        for c in range(maps):
                            sums[c] += row[c]


@kernel
def add_in_place(
    lo: int, hi: int, slot: int, dw: F2, db: F1, work: F1, segments: int, part: int, runs: int, depth: int, *, ROWS,
    WIDE, BIAS,
):  # fmt: skip
    """The segments' sums added in order; a unit is LANES filters, and with them their biases."""
    wide, blocks = (dw.shape[0] + WIDE - 1) // WIDE * WIDE, (depth + ROWS - 1) // ROWS
    last = (blocks - 1) * ROWS
    for unit in range(lo, hi):
        first = unit * LANES
        count = min(LANES, dw.shape[0] - first)
        for run in range(runs):
            for k in range(depth):
                place = k if k < last else last + k - (depth - ROWS)
                at = (run * blocks * ROWS + place) * wide + first
                total = load(work, at)
                for s in range(1, segments):
                    total = total + load(work, s * part + at)
                # The first segment's numbers are not needed any more: from there they go to their filters.
                store(work, at, total)
                for i in range(count):
                    dw[first + i, run * depth + k] = work[at + i]
        if BIAS:
            at = runs * blocks * ROWS * wide + first
            for i in range(count):
                sums = work[at + i]
                for s in range(1, segments):
                    sums += work[s * part + at + i]
                db[first + i] = sums
