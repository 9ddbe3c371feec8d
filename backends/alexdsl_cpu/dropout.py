"""Dropout on the CPU: Philox 4x32-10 drawn in the kernel, by the convention of ``alexdsl.ir.philox``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir import philox
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cpu.dialect import F1, L1, Function, f32
from alexdsl_cpu.offer import Call, Constants, Offer, head_attrs, is_tail, rows_of, tail, with_extra

BLOCK = 1024
"""Counters of a unit, four elements each."""


@kernel
def draw(c0, c1, c2, c3, k0, k1):
    """The four words of a counter under a key, all uint64 that hold 32 bits."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & low, (p0 >> half) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


@kernel
def dropout(
    lo: int, hi: int, slot: int, x: F1, step: L1, other: F1, y: F1, images: int, key0: int, key1: int, image: int,
    element: int, threshold: int, scale: float, pixels: int, *, BLOCK, MAPS, EPILOGUE: Function,
):  # fmt: skip
    """y = EPILOGUE(x scale, or 0 where the word is below the threshold); a unit is BLOCK counters of an image.

    ``image`` and ``element`` are the places of the first ones in the whole batch and value. Elements are counted map by
    map; with MAPS they lie channels last, ``pixels`` a map.
    """
    size = x.size // images
    counters = (element + size + 3) // 4 - element // 4
    units = -(-counters // BLOCK)
    k0, k1, bound = np.uint64(key0), np.uint64(key1), np.uint64(threshold)
    low, high = np.uint64(step[0]) & np.uint64(0xFFFFFFFF), np.uint64(step[0]) >> np.uint64(32)
    channels = size // pixels
    for unit in range(lo, hi):
        n, first = unit // units, unit % units * BLOCK
        row, extra, out = x[n * size : (n + 1) * size], other[n * size : (n + 1) * size], y[n * size : (n + 1) * size]
        place = np.uint64(image + n)
        last = min(first + BLOCK, counters)
        skipped = element % 4
        # Counters whose four elements are all here, in vectors; the rest one by one.
        begin, end = first, last
        if not MAPS:
            begin = max(first, 1 if skipped else 0)
            end = max(begin, min(last, (size + skipped) // 4))
            base = np.uint64(element // 4 + begin)
            at = 4 * begin - skipped
            source, more, target = row[at:], extra[at:], out[at:]
            for i in range(end - begin):
                w0, w1, w2, w3 = draw(base + np.uint64(i), place, low, high, k0, k1)
                target[4 * i] = EPILOGUE(source[4 * i] * scale if w0 >= bound else f32(0.0), more[4 * i])
                target[4 * i + 1] = EPILOGUE(source[4 * i + 1] * scale if w1 >= bound else f32(0.0), more[4 * i + 1])
                target[4 * i + 2] = EPILOGUE(source[4 * i + 2] * scale if w2 >= bound else f32(0.0), more[4 * i + 2])
                target[4 * i + 3] = EPILOGUE(source[4 * i + 3] * scale if w3 >= bound else f32(0.0), more[4 * i + 3])
        for counter in range(first, last):
            if not MAPS and begin <= counter < end:
                continue
            words = draw(np.uint64(element // 4 + counter), place, low, high, k0, k1)
            for i in range(4):
                e = 4 * counter + i - skipped
                if 0 <= e < size:
                    if MAPS:
                        e = e % pixels * channels + e // pixels
                    out[e] = EPILOGUE(row[e] * scale if words[i] >= bound else f32(0.0), extra[e])


class Dropout(Offer):
    """``dropout`` and its gradient, one kernel; an epilogue takes at most one further operand."""

    heads = ("dropout", "dropout_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and is_tail(chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        same = rows_of(results[0])
        return [same, "", same][: len(operands)], [same]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, attrs, y = [f"%{name}" for name in op.operands], head_attrs(op), results[0]
        epilogue = tail(op, self.registry)
        other = names[-1] if len(epilogue.args) == 2 else f"%{op.name}"
        images = y.shape[0]
        size = y.elements // images
        element = attrs.get("part", (0, 1))[0] * size
        counters = (element + size + 3) // 4 - element // 4
        scale = 1 / (1 - attrs["p"]) if attrs["scale"] == "train" else 1.0
        numbers = (*philox.key(attrs["seed"], attrs["stream"]), attrs.get("first", 0), element)
        pixels = y.shape[2] * y.shape[3] if len(y.shape) == 4 else 1
        args = (*names[:2], other, f"%{op.name}", images, *numbers, philox.dropout_threshold(attrs["p"]), scale, pixels)
        constants: Constants = {"BLOCK": BLOCK, "MAPS": pixels > 1, "EPILOGUE": with_extra(epilogue)}
        return [Call(dropout, args, images * -(-counters // BLOCK), constants)]
