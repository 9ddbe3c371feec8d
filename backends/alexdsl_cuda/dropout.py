"""Dropout on CUDA: Philox 4x32-10 drawn in the kernel, by the convention of ``alexdsl.ir.philox``."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir import philox
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cuda.dialect import F1, L1, Function, cuda, float32, int32, uint32, uint64
from alexdsl_cuda.offer import Call, Constants, Offer, head_attrs, is_tail, rows_of, tail, with_extra
from alexdsl_cuda.quads import flat, read, size_of, thread, write


@kernel
def draw(words, c0, c1, c2, c3, k0, k1):
    """The four words of a counter under a key, all uint32."""
    low = uint64(0xFFFFFFFF)
    half = uint64(32)
    for _ in range(10):
        p0, p1 = uint64(c0) * uint64(0xD2511F53), uint64(c2) * uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            uint32(uint32(p1 >> half) ^ c1 ^ k0), uint32(p1 & low),
            uint32(uint32(p0 >> half) ^ c3 ^ k1), uint32(p0 & low),
        )  # fmt: skip
        k0 = uint32((uint64(k0) + uint64(0x9E3779B9)) & low)
        k1 = uint32((uint64(k1) + uint64(0xBB67AE85)) & low)
    words[0], words[1], words[2], words[3] = c0, c1, c2, c3


@kernel
def draw_at(words, counter, image, step, key0, key1):
    """The words of a counter of an image in this step. The key's words fill 32 bits, and come as int32."""
    low, high = uint32(step[0] & 0xFFFFFFFF), uint32(step[0] >> 32)
    draw(words, counter, image, low, high, uint32(key0), uint32(key1))


@kernel
def dropout(
    x: F1, step: L1, other: F1, y: F1, key0: int, key1: int, first: int, element: int, threshold: int, scale: float,
    count: int, *, ROW, COUNTERS, QUADS, EPILOGUE: Function,
) -> None:  # fmt: skip
    """y = EPILOGUE(x scale, or 0 where the word is below the threshold), rows of ROW elements; a thread is a counter.

    ``first`` is the first image's place in the batch, ``element`` the place of a row's first one in the whole value.
    """
    t = thread()
    if t < uint32(count):
        words = cuda.local.array(4, uint32)
        n, counter = uint32(t // COUNTERS), uint32(t % COUNTERS)
        bound = uint32(threshold)
        draw_at(words, uint32(uint32(element) // 4 + counter), uint32(first + n), step, key0, key1)
        if QUADS:
            at = uint32(n * ROW + counter * 4)
            values = cuda.local.array(4, float32)
            extra = cuda.local.array(4, float32)
            read(values, x, at)
            read(extra, other, at)
            for i in range(4):
                values[i] = EPILOGUE(values[i] * scale if words[i] >= bound else float32(0.0), extra[i])
            write(y, at, values)
        else:
            for i in range(4):
                e = int32(int32(counter * 4) + i - element % 4)
                if 0 <= e < ROW:
                    at = uint32(n * ROW + e)
                    y[at] = EPILOGUE(x[at] * scale if words[i] >= bound else float32(0.0), other[at])


@kernel
def dropout_maps(
    x: F1, step: L1, other: F1, y: F1, key0: int, key1: int, first: int, element: int, threshold: int, scale: float,
    count: int, *, CHANNELS, PIXELS, EVEN, EPILOGUE: Function,
) -> None:  # fmt: skip
    """The same for maps, whose elements are counted map by map but lie channels last.

    A thread makes four pixels of a map, whose words are those of one counter where maps begin with one (EVEN), else of
    two; neighbouring threads make the same pixels of neighbouring maps, which are neighbours in memory.
    """
    t = thread()
    if t < uint32(count):
        words = cuda.local.array(4, uint32)
        later = cuda.local.array(4, uint32)
        c, rest = uint32(t % CHANNELS), uint32(t // CHANNELS)
        n, pixel = uint32(rest // ((PIXELS + 3) // 4)), uint32(rest % ((PIXELS + 3) // 4) * 4)
        place = uint32(uint32(element) + c * PIXELS + pixel)
        bound = uint32(threshold)
        draw_at(words, uint32(place // 4), uint32(first + n), step, key0, key1)
        if not EVEN:
            draw_at(later, uint32(place // 4 + 1), uint32(first + n), step, key0, key1)
            if place & 1:
                words[0], words[1], words[2], words[3] = words[1], words[2], words[3], later[0]
                later[0], later[1] = later[1], later[2]
            if place & 2:
                words[0], words[1], words[2], words[3] = words[2], words[3], later[0], later[1]
        for i in range(4):
            if pixel + i < PIXELS:
                at = uint32((n * PIXELS + pixel + i) * CHANNELS + c)
                value = x[at] * scale
                y[at] = EPILOGUE(value if words[i] >= bound else float32(0.0), other[at])


class Dropout(Offer):
    """``dropout`` and its gradient, the same kernels; an epilogue takes at most one further operand."""

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
        scale = 1 / (1 - attrs["p"]) if attrs["scale"] == "train" else 1.0
        words = (*philox.key(attrs["seed"], attrs["stream"]), attrs.get("first", 0), element)
        bound = philox.dropout_threshold(attrs["p"])
        args = (*names[:2], other, f"%{op.name}", *map(signed, (*words, bound)), scale)
        constants: Constants = {"EPILOGUE": with_extra(epilogue)}
        pixels = y.shape[2] * y.shape[3] if len(y.shape) == 4 else 1
        if pixels > 1:
            channels, even = y.shape[1], size_of(pixels, element) == 4
            maps: Constants = {**constants, "CHANNELS": channels, "PIXELS": pixels, "EVEN": even}
            return [flat(dropout_maps, args, images * channels * ((pixels + 3) // 4), maps)]
        counters, quads = (element + size + 3) // 4 - element // 4, size_of(size, element) == 4
        rows: Constants = {**constants, "ROW": size, "COUNTERS": counters, "QUADS": quads, "SIZE": 4}
        return [flat(dropout, args, images * counters, rows)]


def signed(word: int) -> int:
    """The int32 of the same 32 bits, as which kernels take numbers."""
    return word - (1 << 32) if word >= 1 << 31 else word
