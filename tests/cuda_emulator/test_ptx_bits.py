"""Logic, shifts and fields of bits against the definitions of the PTX manual."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda_emulator.ptx_text import assert_same, elementwise

WORDS = [0, 1, 0xFFFFFFFF, 0x80000000, 0x12345678, 0xDEADBEEF, 0x0000FF00]
AMOUNTS = [0, 1, 7, 16, 31, 32, 33, 64, 255, 0xFFFFFFFF]


def pairs(a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
    return [x for x in a for _ in b], [y for _ in a for y in b]


def signed(value: int, bits: int = 32) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def test_logic() -> None:
    a, b = pairs(WORDS, WORDS)
    given = {"wa": ("b32", a), "wb": ("b32", b)}
    for op, how in (("and", int.__and__), ("or", int.__or__), ("xor", int.__xor__)):
        assert_same(
            elementwise(f"{op}.b32 wd, wa, wb;", given, ("wd", "b32")), [how(*v) for v in zip(a, b, strict=True)]
        )
    assert_same(elementwise("not.b32 wd, wa;", given, ("wd", "b32")), [x ^ 0xFFFFFFFF for x in a])
    assert_same(elementwise("cnot.b32 wd, wa;", given, ("wd", "b32")), [int(x == 0) for x in a])
    code = "setp.ne.u32 p, wa, 0; setp.ne.u32 q, wb, 0; xor.pred p, p, q; not.pred p, p; selp.u32 wd, 1, 0, p;"
    assert_same(elementwise(code, given, ("wd", "b32")), [int((x != 0) == (y != 0)) for x, y in zip(a, b, strict=True)])


def test_shifts_clamp_their_amounts() -> None:
    a, n = pairs(WORDS, AMOUNTS)
    given = {"wa": ("b32", a), "wb": ("b32", n)}
    left = [x << k & 0xFFFFFFFF if k < 32 else 0 for x, k in zip(a, n, strict=True)]
    assert_same(elementwise("shl.b32 wd, wa, wb;", given, ("wd", "b32")), left)
    logical = [x >> k if k < 32 else 0 for x, k in zip(a, n, strict=True)]
    assert_same(elementwise("shr.u32 wd, wa, wb;", given, ("wd", "b32")), logical)
    arithmetic = [signed(x) >> min(k, 31) for x, k in zip(a, n, strict=True)]
    assert_same(elementwise("shr.s32 wd, wa, wb;", given, ("wd", "s32")), arithmetic)


def test_shifts_of_other_widths() -> None:
    values = np.array([0x8000, 0x1234], np.uint16)
    given = {"ha": ("b16", values), "wb": ("b32", [4, 15])}
    assert_same(elementwise("shr.s16 hd, ha, wb;", given, ("hd", "s16")), [-2048, 0])
    assert_same(elementwise("shl.b16 hd, ha, 16;", given, ("hd", "b16")), [0, 0])
    given = {"la": ("b64", [2**63 + 5] * 3), "wb": ("b32", [1, 63, 64])}
    assert_same(elementwise("shr.u64 ld, la, wb;", given, ("ld", "b64")), [2**62 + 2, 1, 0])


@pytest.mark.parametrize("mode", ["wrap", "clamp"])
def test_funnel_shifts(mode: str) -> None:
    a, n = pairs(WORDS, AMOUNTS)
    b = a[::-1]
    given = {"wa": ("b32", a), "wb": ("b32", b), "wc": ("b32", n)}
    by = [k & 31 if mode == "wrap" else min(k, 32) for k in n]
    both = [y << 32 | x for x, y in zip(a, b, strict=True)]
    right = [v >> k & 0xFFFFFFFF for v, k in zip(both, by, strict=True)]
    assert_same(elementwise(f"shf.r.{mode}.b32 wd, wa, wb, wc;", given, ("wd", "b32")), right)
    left = [(v << k) >> 32 & 0xFFFFFFFF for v, k in zip(both, by, strict=True)]
    assert_same(elementwise(f"shf.l.{mode}.b32 wd, wa, wb, wc;", given, ("wd", "b32")), left)


def test_any_function_of_three_bits() -> None:
    given = {"wa": ("b32", [0xF0F0F0F0]), "wb": ("b32", [0xCCCCCCCC]), "wc": ("b32", [0xAAAAAAAA])}
    for table in (0x80, 0xFE, 0x96, 0xE8, 0x1B):
        found = elementwise(f"lop3.b32 wd, wa, wb, wc, {table};", given, ("wd", "b32"))
        assert_same(found, [table * 0x01010101])


FIELDS = [(0, 0), (0, 32), (0, 40), (4, 8), (24, 8), (28, 8), (31, 1), (32, 4), (200, 3), (3, 255)]


def test_inserted_fields() -> None:
    words = [(a, b) for a in WORDS for b in WORDS[::2]]
    for at, length in FIELDS:
        given = {"wa": ("b32", [a for a, _ in words]), "wb": ("b32", [b for _, b in words])}
        expected = []
        for a, b in words:
            for k in range(length):
                if at + k <= 31:
                    b = b & ~(1 << (at + k)) | (a >> k & 1) << (at + k)
            expected.append(b)
        assert_same(elementwise(f"bfi.b32 wd, wa, wb, {at}, {length};", given, ("wd", "b32")), expected)
    given = {"la": ("b64", [0x1FFFFFFFF]), "lb": ("b64", [0x1234])}
    assert_same(elementwise("bfi.b64 ld, la, lb, 32, 32;", given, ("ld", "b64")), [0xFFFFFFFF00001234])


@pytest.mark.parametrize("type", ["u32", "s32"])
def test_extracted_fields(type: str) -> None:
    for at, length in FIELDS:
        expected = []
        for a in WORDS:
            sign = a >> min(at + length - 1, 31) & 1 if type == "s32" and length else 0
            bits = [a >> (at + k) & 1 if k < length and at + k <= 31 else sign for k in range(32)]
            expected.append(sum(bit << k for k, bit in enumerate(bits)))
        code = f"bfe.{type} wd, wa, {at}, {length};"
        assert_same(elementwise(code, {"wa": ("b32", WORDS)}, ("wd", "b32")), expected)


def test_counts() -> None:
    given = {"wa": ("b32", WORDS)}
    assert_same(elementwise("popc.b32 wd, wa;", given, ("wd", "u32")), [a.bit_count() for a in WORDS])
    assert_same(elementwise("clz.b32 wd, wa;", given, ("wd", "u32")), [32 - a.bit_length() for a in WORDS])
    reverse = [int(f"{a:032b}"[::-1], 2) for a in WORDS]
    assert_same(elementwise("brev.b32 wd, wa;", given, ("wd", "u32")), reverse)
    wide = {"la": ("b64", [0, 2**63, 2**40 - 1])}
    assert_same(elementwise("clz.b64 wd, la;", wide, ("wd", "u32")), [64, 0, 24])
    assert_same(elementwise("popc.b64 wd, la;", wide, ("wd", "u32")), [0, 1, 40])


def test_the_highest_bit() -> None:
    given = {"wa": ("b32", WORDS)}
    unsigned = [(a.bit_length() - 1) & 0xFFFFFFFF for a in WORDS]
    assert_same(elementwise("bfind.u32 wd, wa;", given, ("wd", "u32")), unsigned)
    places = [((a ^ 0xFFFFFFFF if a >> 31 else a).bit_length() - 1) & 0xFFFFFFFF for a in WORDS]
    assert_same(elementwise("bfind.s32 wd, wa;", given, ("wd", "u32")), places)
    amounts = [32 - a.bit_length() if a else 0xFFFFFFFF for a in WORDS]
    assert_same(elementwise("bfind.shiftamt.u32 wd, wa;", given, ("wd", "u32")), amounts)


def test_bytes_are_permuted() -> None:
    a, b = 0x83828180, 0x07868504
    selectors = [0x3210, 0x7654, 0x0123, 0x4567, 0x8000, 0xFEDC, 0x5140]
    expected = []
    both = (b << 32 | a).to_bytes(8, "little")
    for selector in selectors:
        value = 0
        for place in range(4):
            nibble = selector >> 4 * place & 15
            byte = both[nibble & 7]
            value |= ((0xFF if byte & 128 else 0) if nibble & 8 else byte) << 8 * place
        expected.append(value)
    given = {"wa": ("b32", [a] * 7), "wb": ("b32", [b] * 7), "wc": ("b32", selectors)}
    assert_same(elementwise("prmt.b32 wd, wa, wb, wc;", given, ("wd", "b32")), expected)
