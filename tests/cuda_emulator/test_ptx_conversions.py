"""Conversions, comparisons, selections and moves against the definitions of the PTX manual."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.cuda_emulator.ptx_text import DTYPES, assert_same, elementwise, rounded

REGISTER = {8: "h", 16: "h", 32: "w", 64: "l"}
FLOATS = np.array(
    [0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 127.6, 128.0, 255.5, -128.7, 3e9, -3e9, 1e19, -1e19,
     65535.5, 1e30, np.inf, -np.inf, np.nan, 2147483500.0, -2147483648.0, 4294967040.0],
    np.float32,
)  # fmt: skip


def register(type: str, name: str) -> str:
    return (("f" if type == "f32" else "d") if type[0] == "f" else REGISTER[int(type[1:])]) + name


@pytest.mark.parametrize("given", ["f32", "f64"])
@pytest.mark.parametrize("to", ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("mode", ["rzi", "rni", "rmi", "rpi"])
def test_floats_to_integers_clamp(given: str, to: str, mode: str) -> None:
    values = FLOATS.astype(DTYPES[given])
    a, d = register(given, "a"), register(to, "d")
    stored = f"{to[0]}{max(16, int(to[1:]))}"
    found = elementwise(f"cvt.{mode}.{to}.{given} {d}, {a};", {a: (given, values)}, (d, stored))
    limits = np.iinfo(DTYPES[to])
    how = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}[mode]
    expected = []
    for value in values:
        if np.isnan(value):
            top = 1 << (int(to[1:]) - 1)
            special = given == "f64" or to[1:] == "64"
            expected.append((-top if to[0] == "s" else top) if special else 0)
        elif np.isinf(value):
            expected.append(limits.max if value > 0 else limits.min)
        else:
            expected.append(min(max(int(how(value)), limits.min), limits.max))
    assert_same(found, np.array(expected, DTYPES[stored]))


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("given", ["s32", "u32"])
def test_integers_to_floats(given: str, mode: str) -> None:
    values = np.array([0, 1, 16777217, 16777219, 2**31 - 1, 123456789], np.int64)
    if given == "s32":
        values = np.concatenate([values, -values])
    found = elementwise(f"cvt.{mode}.f32.{given} fd, wa;", {"wa": (given, values)}, ("fd", "f32"))
    assert_same(found, [rounded(Fraction(int(v)), mode) for v in values])


@pytest.mark.parametrize("type", ["s64", "u64", "s16", "u16", "s8", "u8"])
def test_other_integers_to_floats(type: str) -> None:
    limits = np.iinfo(DTYPES[type])
    values = np.array([limits.min, limits.max, 3, limits.max // 3], DTYPES[type])
    a = register(type, "a")
    for to in ("f32", "f64"):
        d = register(to, "d")
        found = elementwise(f"cvt.rn.{to}.{type} {d}, {a};", {a: (type, values)}, (d, to))
        assert_same(found, [DTYPES[to](int(v)) for v in values])


@pytest.mark.parametrize("given", ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("to", ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"])
def test_integers_to_integers_wrap_or_saturate(given: str, to: str) -> None:
    limits, goal = np.iinfo(DTYPES[given]), np.iinfo(DTYPES[to])
    values = [limits.min, limits.max, 0, 1, limits.max // 2 + 1, 100, *([-1, -100] if given[0] == "s" else [])]
    a, d = register(given, "a"), register(to, "c")
    stored = f"{to[0]}{max(16, int(to[1:]))}"
    inputs = {a: (given, np.array(values, DTYPES[given]))}
    found = elementwise(f"cvt.{to}.{given} {d}, {a};", inputs, (d, stored))
    assert_same(found, [_wrap(v, to) for v in values])
    if not (goal.min <= limits.min and limits.max <= goal.max):
        found = elementwise(f"cvt.sat.{to}.{given} {d}, {a};", inputs, (d, stored))
        assert_same(found, [min(max(v, goal.min), goal.max) for v in values])


def _wrap(value: int, type: str) -> int:
    bits = int(type[1:])
    value &= (1 << bits) - 1
    return value - (1 << bits) if type[0] == "s" and value >> (bits - 1) else value


def test_a_source_wider_than_its_type_is_cut_first() -> None:
    """NVVM writes ``cvt.s64.s32 %rd, %rd``."""
    values = np.array([0x1_FFFF_FFFF, 0x7_0000_0005, 0x8000_0000], np.int64)
    found = elementwise("cvt.s64.s32 ld, la;", {"la": ("s64", values)}, ("ld", "s64"))
    assert_same(found, [-1, 5, -(2**31)])
    found = elementwise("cvt.u64.u32 ld, la;", {"la": ("s64", values)}, ("ld", "s64"))
    assert_same(found, [0xFFFFFFFF, 5, 0x80000000])


def test_floats_to_whole_floats() -> None:
    for mode, how in (("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)):
        found = elementwise(f"cvt.{mode}.f32.f32 fd, fa;", {"fa": ("f32", FLOATS)}, ("fd", "f32"))
        assert_same(found, how(FLOATS))


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
def test_doubles_to_floats(mode: str) -> None:
    values = np.random.default_rng(3).normal(size=300) * 1e-3
    found = elementwise(f"cvt.{mode}.f32.f64 fd, da;", {"da": ("f64", values)}, ("fd", "f32"))
    assert_same(found, [rounded(Fraction(v), mode) for v in values])
    wide = elementwise("cvt.f64.f32 dd, fa;", {"fa": ("f32", FLOATS)}, ("dd", "f64"))
    assert_same(wide, FLOATS.astype(np.float64))


def test_saturating_and_flushing_conversions() -> None:
    given = {"fa": ("f32", [-1.0, 0.5, 2.0, np.nan])}
    assert_same(elementwise("cvt.sat.f32.f32 fd, fa;", given, ("fd", "f32")), [0.0, 0.5, 1.0, 0.0])
    tiny = {"da": ("f64", [1e-40, -1e-40, 1.0])}
    assert_same(elementwise("cvt.rn.ftz.f32.f64 fd, da;", tiny, ("fd", "f32")), [0.0, -0.0, 1.0])


def test_half_precision() -> None:
    with np.errstate(over="ignore"):
        halves = FLOATS.astype(np.float16)
    found = elementwise("cvt.rn.f16.f32 hd, fa;", {"fa": ("f32", FLOATS)}, ("hd", "b16")).view(np.float16)
    assert_same(found, halves)
    back = elementwise("cvt.f32.f16 fd, ha;", {"ha": ("b16", halves.view(np.uint16))}, ("fd", "f32"))
    assert_same(back, halves.astype(np.float32))


def bf16(values: Any) -> Any:
    """bf16 bits, rounded to nearest even."""
    found = []
    for value in np.asarray(values, np.float32):
        bits = int(value.view(np.uint32))
        if np.isnan(value):
            found.append(0x7FFF)
            continue
        low, rest = bits >> 16, bits & 0xFFFF
        found.append((low + (rest > 0x8000 or (rest == 0x8000 and low % 2 == 1))) & 0xFFFF)
    return np.array(found, np.uint16)


def test_bf16() -> None:
    values = np.concatenate([FLOATS, np.array([0x3F808000, 0x3F818000, 0x3F808001], np.uint32).view(np.float32)])
    assert_same(elementwise("cvt.rn.bf16.f32 hd, fa;", {"fa": ("f32", values)}, ("hd", "b16")), bf16(values))
    pair = {"fa": ("f32", values), "fb": ("f32", values[::-1].copy())}
    packed = elementwise("cvt.rn.bf16x2.f32 wd, fa, fb;", pair, ("wd", "b32"))
    assert_same(packed, bf16(values).astype(np.uint32) << 16 | bf16(values[::-1]))


def test_tf32_ties_go_away_from_zero() -> None:
    bits = np.array([0x3F801000, 0xBF801000, 0x3F800FFF, 0x7F800000, 0x3F803000], np.uint32)
    found = elementwise("cvt.rna.tf32.f32 wd, fa;", {"fa": ("f32", bits.view(np.float32))}, ("wd", "b32"))
    assert_same(found, [0x3F802000, 0xBF802000, 0x3F800000, 0x7F800000, 0x3F804000])


COMPARISONS = {
    "eq": lambda x, y: x == y, "ne": lambda x, y: (x != y) & ~(np.isnan(x) | np.isnan(y)), "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y, "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y,
}  # fmt: skip


@pytest.mark.parametrize("test", [*COMPARISONS, *(f"{c}u" for c in COMPARISONS), "num", "nan"])
def test_comparisons_of_floats(test: str) -> None:
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, np.nan], np.float32)
    x, y = (v.ravel() for v in np.meshgrid(special, special))
    given = {"fa": ("f32", x), "fb": ("f32", y)}
    found = elementwise(f"setp.{test}.f32 p, fa, fb; selp.u32 wd, 1, 0, p;", given, ("wd", "u32")) != 0
    unordered = np.isnan(x) | np.isnan(y)
    if test in ("num", "nan"):
        expected = unordered == (test == "nan")
    elif test in COMPARISONS:
        expected = COMPARISONS[test](x, y)
    else:
        expected = COMPARISONS[test[:-1]](x, y) | unordered
    assert_same(found.astype(np.uint32), expected)


def test_comparisons_of_integers_know_signs() -> None:
    given = {"wa": ("s32", [-1, 1, 5, 5]), "wb": ("s32", [1, -1, 5, 6])}
    for test, expected in (("lt.s32", [1, 0, 0, 1]), ("lt.u32", [0, 1, 0, 1]), ("lo.u32", [0, 1, 0, 1]),
                           ("hs.u32", [1, 0, 1, 0]), ("ge.s32", [0, 1, 1, 0]), ("eq.b32", [0, 0, 1, 0])):  # fmt: skip
        found = elementwise(f"setp.{test} p, wa, wb; selp.u32 wd, 1, 0, p;", given, ("wd", "u32"))
        assert_same(found, expected)


def test_comparisons_combine_and_give_their_opposite() -> None:
    given = {"wa": ("s32", [1, 1, 2, 2]), "wb": ("s32", [0, 1, 0, 1])}
    code = "setp.eq.s32 r, wb, 1; setp.eq.and.s32 p|q, wa, 1, r; selp.u32 wc, 1, 0, p; selp.u32 wd, 2, 0, q;"
    code += "or.b32 wd, wd, wc;"
    assert_same(elementwise(code, given, ("wd", "u32")), [0, 1, 0, 2])
    code = "setp.eq.s32 r, wb, 1; setp.eq.or.s32 p, wa, 1, !r; selp.u32 wd, 1, 0, p;"
    assert_same(elementwise(code, given, ("wd", "u32")), [1, 1, 1, 0])
    assert_same(elementwise("set.eq.u32.s32 wd, wa, 1;", given, ("wd", "u32")), [2**32 - 1, 2**32 - 1, 0, 0])
    assert_same(elementwise("set.eq.f32.s32 fd, wa, 1;", given, ("fd", "f32")), [1.0, 1.0, 0.0, 0.0])


def test_selections() -> None:
    given = {"wa": ("s32", [1, 2]), "wb": ("s32", [3, 4]), "wc": ("s32", [0, -1])}
    assert_same(elementwise("slct.s32.s32 wd, wa, wb, wc;", given, ("wd", "s32")), [1, 4])
    assert_same(elementwise("setp.ge.s32 p, wc, 0; selp.s32 wd, wa, wb, p;", given, ("wd", "s32")), [1, 4])


def test_vectors_pack_the_first_member_lowest() -> None:
    given = {"wa": ("b32", [0x11112222]), "wb": ("b32", [0x33334444])}
    assert_same(elementwise("mov.b64 ld, {wa, wb};", given, ("ld", "b64")), [0x3333444411112222])
    assert_same(elementwise("mov.b32 {ha, hb}, wa; mov.b32 wd, {hb, ha};", given, ("wd", "b32")), [0x22221111])
    assert_same(elementwise("mov.b64 ld, {wa, wb}; mov.b64 {_, wd}, ld;", given, ("wd", "b32")), [0x33334444])


def test_constants_keep_their_bits() -> None:
    one = {"wa": ("b32", [0])}
    assert_same(elementwise("mov.f32 fd, 0f7FC00001; mov.b32 wd, fd;", one, ("wd", "b32")), [0x7FC00001])
    assert_same(elementwise("mov.f64 dd, 0d3FE8000000000000;", one, ("dd", "f64")), [0.75])
    assert_same(elementwise("mov.u32 wd, -1;", one, ("wd", "b32")), [2**32 - 1])
    assert_same(elementwise("mov.f32 fd, 0.1;", one, ("fd", "f32")), [0.1])
    assert_same(elementwise("mov.b32 wd, 0x80000000U;", one, ("wd", "b32")), [2**31])
