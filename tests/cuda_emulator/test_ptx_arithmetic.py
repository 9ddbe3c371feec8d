"""The emulator's arithmetic against the definitions of the PTX manual, computed exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.cuda_emulator.ptx_text import Array, assert_same, elementwise, rounded

RANDOM = np.random.default_rng(7)
A, B, C = (np.exp2(RANDOM.uniform(-9, 9, 400)).astype(np.float32) * RANDOM.choice([-1, 1], 400) for _ in range(3))
A, B, C = (v.astype(np.float32) for v in (A, B, C))
TINY = np.array([1e-40, -1e-40, 1.5e-38, -2e-38, 0.0, -0.0, 1.0, np.inf, np.nan], np.float32)
SPECIAL = np.array([0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan], np.float32)
X, Y = (v.ravel() for v in np.meshgrid(SPECIAL, SPECIAL))


def three(a: Any, b: Any, c: Any, type: str = "f32", prefix: str = "f") -> dict[str, tuple[str, Any]]:
    return {f"{prefix}{name}": (type, values) for name, values in (("a", a), ("b", b), ("c", c))}


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
def test_fma_rounds_once(mode: str) -> None:
    c = C.copy()
    c[:200] = -(A[:200] * B[:200])  # what remains is what the product's rounding lost
    found = elementwise(f"fma.{mode}.f32 fd, fa, fb, fc;", three(A, B, c), ("fd", "f32"))
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(A, B, c, strict=True)]
    assert_same(found, [rounded(v, mode) for v in exact])


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("op", ["add", "sub", "mul"])
def test_sums_and_products_round_as_asked(op: str, mode: str) -> None:
    found = elementwise(f"{op}.{mode}.f32 fd, fa, fb;", three(A, B, C), ("fd", "f32"))
    how = {"add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y}[op]
    exact = [how(Fraction(float(x)), Fraction(float(y))) for x, y in zip(A, B, strict=True)]
    assert_same(found, [rounded(v, mode) for v in exact])


def test_a_sum_of_zero_is_negative_only_when_rounded_down() -> None:
    given = three([1.0, 0.0, -0.0, 0.0], [-1.0, 0.0, -0.0, -0.0], [0.0] * 4)
    assert_same(elementwise("add.rm.f32 fd, fa, fb;", given, ("fd", "f32")), [-0.0, 0.0, -0.0, -0.0])
    assert_same(elementwise("add.rn.f32 fd, fa, fb;", given, ("fd", "f32")), [0.0, 0.0, -0.0, 0.0])
    assert_same(elementwise("add.rp.f32 fd, fa, fb;", given, ("fd", "f32")), [0.0, 0.0, -0.0, 0.0])


def test_overflow_rounded_towards_zero_stays_finite() -> None:
    most = np.finfo(np.float32).max
    given = three([most, -most], [2.0, 2.0], [0, 0])
    assert_same(elementwise("mul.rz.f32 fd, fa, fb;", given, ("fd", "f32")), [most, -most])
    assert_same(elementwise("mul.rp.f32 fd, fa, fb;", given, ("fd", "f32")), [np.inf, -most])
    assert_same(elementwise("mul.rn.f32 fd, fa, fb;", given, ("fd", "f32")), [np.inf, -np.inf])


def test_subnormals_are_kept_unless_flushed() -> None:
    one = three(TINY, np.ones_like(TINY), np.zeros_like(TINY))
    assert_same(elementwise("mul.f32 fd, fa, fb;", one, ("fd", "f32")), TINY)
    assert_same(elementwise("add.ftz.f32 fd, fa, fc;", one, ("fd", "f32")), [0, 0, *TINY[2:4], 0, 0, 1, np.inf, np.nan])
    half = three(TINY, np.full_like(TINY, 0.5), np.zeros_like(TINY))
    flushed = np.array([0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.5, np.inf, np.nan], np.float32)
    flushed[3] = -0.0
    assert_same(elementwise("mul.ftz.f32 fd, fa, fb;", half, ("fd", "f32")), flushed)


def test_saturation_goes_to_zero_and_one() -> None:
    given = three([-1.0, 0.25, 3.0, np.nan, -0.0], [0.0] * 5, [0.0] * 5)
    assert_same(elementwise("add.sat.f32 fd, fa, fb;", given, ("fd", "f32")), [0.0, 0.25, 1.0, 0.0, 0.0])


def test_min_and_max_prefer_numbers_to_nan_and_order_zeros() -> None:
    for op, infinity in (("min", -np.inf), ("max", np.inf)):
        found = elementwise(f"{op}.f32 fd, fa, fb;", three(X, Y, X), ("fd", "f32"))
        for x, y, value in zip(X, Y, found, strict=True):
            if np.isnan(x) or np.isnan(y):
                assert_same(np.array([value]), [x if np.isnan(y) else y])
            elif x == y == 0:
                negative = np.signbit([x, y])
                assert np.signbit(value) == (negative.any() if op == "min" else negative.all())
            else:
                assert value == (min if op == "min" else max)(x, y)
        found = elementwise(f"{op}.NaN.f32 fd, fa, fb;", three(X, Y, X), ("fd", "f32"))
        assert (np.isnan(found) == (np.isnan(X) | np.isnan(Y))).all()
        assert infinity in found


def test_quotients_and_roots_are_rounded_correctly() -> None:
    given = three(A, B, C)
    with np.errstate(invalid="ignore"):
        assert_same(elementwise("div.rn.f32 fd, fa, fb;", given, ("fd", "f32")), A / B)
        assert_same(elementwise("rcp.rn.f32 fd, fa;", given, ("fd", "f32")), np.float32(1) / A)
        assert_same(elementwise("sqrt.rn.f32 fd, fa;", given, ("fd", "f32")), np.sqrt(A))


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("ex2", np.exp2),
        ("lg2", np.log2),
        ("sin", np.sin),
        ("cos", np.cos),
        ("tanh", np.tanh),
        ("rsqrt", lambda x: x**-0.5),
    ],
)
def test_approximations_are_within_half_a_unit(op: str, function: Any) -> None:
    x = np.minimum(np.abs(A[:200]), 60)
    found = elementwise(f"{op}.approx.f32 fd, fa;", {"fa": ("f32", x)}, ("fd", "f32"))
    np.testing.assert_array_max_ulp(found, function(x.astype(np.float64)).astype(np.float32), 1)


def test_the_approximate_reciprocal_of_f64_has_32_bits() -> None:
    found = elementwise("rcp.approx.ftz.f64 dd, da;", {"da": ("f64", [3.0, -7.0])}, ("dd", "f64"))
    assert not (found.view(np.uint64) & np.uint64(0xFFFFFFFF)).any()
    np.testing.assert_allclose(found, [1 / 3, -1 / 7], rtol=2**-19)


def test_f64_arithmetic() -> None:
    a, b, c = (v.astype(np.float64) * np.pi for v in (A, B, C))
    given = three(a, b, c, "f64", "d")
    assert_same(elementwise("add.f64 dd, da, db;", given, ("dd", "f64")), a + b)
    assert_same(elementwise("div.rn.f64 dd, da, db;", given, ("dd", "f64")), a / b)
    exact = [Fraction(x) * Fraction(y) + Fraction(z) for x, y, z in zip(a, b, c, strict=True)]
    assert_same(elementwise("fma.rn.f64 dd, da, db, dc;", given, ("dd", "f64")), [float(v) for v in exact])


def test_signs() -> None:
    assert_same(elementwise("neg.f32 fd, fa;", {"fa": ("f32", SPECIAL)}, ("fd", "f32")), -SPECIAL)
    assert_same(elementwise("abs.f32 fd, fa;", {"fa": ("f32", SPECIAL)}, ("fd", "f32")), np.abs(SPECIAL))
    found = elementwise("copysign.f32 fd, fa, fb;", three(X, Y, X), ("fd", "f32"))
    assert_same(found, np.copysign(Y, X))


INTS = np.array([0, 1, -1, 7, -7, 2**31 - 1, -(2**31), 123456789, -987654321, 32, 5, -3], np.int64)
P, Q = (v.ravel() for v in np.meshgrid(INTS, INTS))


def wide(op: str, type: str, a: Any = P, b: Any = Q) -> list[int]:
    """What 32-bit integers give, exactly."""
    mask = (1 << 32) - 1
    convert = (lambda v: int(v)) if type[0] == "s" else (lambda v: int(v) & mask)
    how = {"add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y}[op]
    return [how(convert(x), convert(y)) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("type", ["s32", "u32"])
def test_integer_products(type: str) -> None:
    given = {"wa": ("b32", P & 0xFFFFFFFF), "wb": ("b32", Q & 0xFFFFFFFF), "wc": ("b32", (P ^ Q) & 0xFFFFFFFF)}
    exact = wide("mul", type)
    for part, values in (("lo", exact), ("hi", [v >> 32 for v in exact])):
        found = elementwise(f"mul.{part}.{type} wd, wa, wb;", given, ("wd", "b32"))
        assert_same(found, [v & 0xFFFFFFFF for v in values])
        found = elementwise(f"mad.{part}.{type} wd, wa, wb, wc;", given, ("wd", "b32"))
        assert_same(found, [(v + int(c)) & 0xFFFFFFFF for v, c in zip(values, P ^ Q, strict=True)])
    found = elementwise(f"mul.wide.{type} ld, wa, wb;", given, ("ld", "b64"))
    assert_same(found, [v & (2**64 - 1) for v in exact])
    # Of mad.wide the summand is as wide as the result, and all of it counts.
    summands = (P << 33) - Q
    given["la"] = ("b64", summands.view(np.uint64))
    found = elementwise(f"mad.wide.{type} ld, wa, wb, la;", given, ("ld", "b64"))
    assert_same(found, [v + int(c) & (2**64 - 1) for v, c in zip(exact, summands, strict=True)])


def test_the_high_half_of_64_bits() -> None:
    a = np.array([2**63 - 1, -(2**63), 12345678901234567, -1], np.int64)
    found = elementwise("mul.hi.s64 ld, la, lb;", {"la": ("s64", a), "lb": ("s64", a[::-1])}, ("ld", "s64"))
    assert_same(found, [int(x) * int(y) >> 64 for x, y in zip(a, a[::-1], strict=True)])


@pytest.mark.parametrize("type", ["s32", "u32"])
def test_division_truncates(type: str) -> None:
    a, b = (v[Q != 0] for v in (P, Q))
    given = {"wa": ("b32", a & 0xFFFFFFFF), "wb": ("b32", b & 0xFFFFFFFF)}
    quotients, rests = [], []
    for x, y in zip(a, b, strict=True):
        x, y = (int(x), int(y)) if type == "s32" else (int(x) & 0xFFFFFFFF, int(y) & 0xFFFFFFFF)
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        quotients.append(quotient & 0xFFFFFFFF)
        rests.append(x - quotient * y & 0xFFFFFFFF)
    assert_same(elementwise(f"div.{type} wd, wa, wb;", given, ("wd", "b32")), quotients)
    assert_same(elementwise(f"rem.{type} wd, wa, wb;", given, ("wd", "b32")), rests)


def test_division_by_zero_does_not_trap() -> None:
    given = {"wa": ("s32", [5, -5]), "wb": ("s32", [0, 0])}
    assert_same(elementwise("div.s32 wd, wa, wb;", given, ("wd", "b32")), [2**32 - 1] * 2)


def test_saturating_sums() -> None:
    given = {"wa": ("s32", [2**31 - 1, -(2**31), 5]), "wb": ("s32", [1, -1, 6])}
    assert_same(elementwise("add.sat.s32 wd, wa, wb;", given, ("wd", "s32")), [2**31 - 1, -(2**31), 11])


def test_carries_make_wide_sums_and_products() -> None:
    a = np.array([0xFFFFFFFFFFFFFFFF, 0x1FFFFFFFF, 7, 0], np.uint64)
    b = np.array([1, 0xFFFFFFFF, 9, 1], np.uint64)
    given = {"la": ("u64", a), "lb": ("u64", b)}
    cut = "mov.b64 {wa, wb}, la; mov.b64 {wc, wd}, lb;"
    code = cut + "add.cc.u32 wa, wa, wc; addc.u32 wb, wb, wd; mov.b64 ld, {wa, wb};"
    assert_same(elementwise(code, given, ("ld", "u64")), a + b)
    code = cut + "sub.cc.u32 wa, wa, wc; subc.u32 wb, wb, wd; mov.b64 ld, {wa, wb};"
    assert_same(elementwise(code, given, ("ld", "u64")), a - b)
    code = (
        cut + "mul.lo.u32 %t, wa, wc; mad.hi.u32 wb, wa, wc, 0; mad.lo.cc.u32 wa, wa, wc, 1; madc.hi.u32 wb, 0, 0, wb;"
    )
    expected = [(int(x) & 0xFFFFFFFF) * (int(y) & 0xFFFFFFFF) + 1 & (2**64 - 1) for x, y in zip(a, b, strict=True)]
    assert_same(elementwise(code + "mov.b64 ld, {wa, wb};", given, ("ld", "u64")), expected)


def test_extremes_and_signs_of_integers() -> None:
    given = {"wa": ("b32", P & 0xFFFFFFFF), "wb": ("b32", Q & 0xFFFFFFFF)}
    assert_same(elementwise("min.s32 wd, wa, wb;", given, ("wd", "s32")), np.minimum(P, Q))
    unsigned = np.maximum(P & 0xFFFFFFFF, Q & 0xFFFFFFFF)
    assert_same(elementwise("max.u32 wd, wa, wb;", given, ("wd", "u32")), unsigned)
    assert_same(elementwise("neg.s32 wd, wa;", given, ("wd", "u32")), -P & 0xFFFFFFFF)
    assert_same(elementwise("abs.s32 wd, wa;", given, ("wd", "u32")), np.abs(P) & 0xFFFFFFFF)


@pytest.mark.parametrize(("type", "bits"), [("f16", 11), ("bf16", 8)])
def test_halves_round_once(type: str, bits: int) -> None:
    def half(values: Any) -> tuple[Any, Any]:
        floats = np.asarray(values, np.float32)
        if type == "f16":
            return floats.astype(np.float16).view(np.uint16), floats.astype(np.float16).astype(np.float64)
        raw = (floats.view(np.uint32) >> 16).astype(np.uint16)
        return raw, (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)

    (a, x), (b, y), (c, z) = (half(np.clip(v, -50, 50)) for v in (A, B, C))
    given = {"ha": ("b16", a), "hb": ("b16", b), "hc": ("b16", c)}
    for code, exact in (
        (f"add.{type} hd, ha, hb;", [Fraction(p) + Fraction(q) for p, q in zip(x, y, strict=True)]),
        (f"mul.{type} hd, ha, hb;", [Fraction(p) * Fraction(q) for p, q in zip(x, y, strict=True)]),
        (
            f"fma.rn.{type} hd, ha, hb, hc;",
            [Fraction(p) * Fraction(q) + Fraction(r) for p, q, r in zip(x, y, z, strict=True)],
        ),
    ):
        found = elementwise(code, given, ("hd", "b16"))
        value = found.view(np.float16) if type == "f16" else (found.astype(np.uint32) << 16).view(np.float32)
        for v, w in zip(value.astype(np.float64), exact, strict=True):
            if abs(w) > Fraction(1, 1000):
                unit = Fraction(2) ** (int(np.floor(np.log2(abs(float(w))))) - bits + 1)
                assert Fraction(v) == round(w / unit) * unit


def test_a_product_and_a_sum_are_rounded_each() -> None:
    found = elementwise("mul.f32 fd, fa, fb; add.f32 fd, fd, fc;", three(A, B, -A * B), ("fd", "f32"))
    assert_same(found, np.zeros_like(A))


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
def test_terms_far_apart_still_decide_the_direction(mode: str) -> None:
    a = np.array([1, 1, -1, -1, 3, 0.75], np.float32)
    c = np.array([2.0**-70, -(2.0**-70), 2.0**-70, -(2.0**-70), 2.0**-120, -(2.0**-100)], np.float32)
    found = elementwise(f"fma.{mode}.f32 fd, fa, fa, fc; neg.f32 fd, fd;", three(a, a, c), ("fd", "f32"))
    exact = [Fraction(float(x)) ** 2 + Fraction(float(z)) for x, z in zip(a, c, strict=True)]
    assert_same(found, [-rounded(v, mode) for v in exact])
    found = elementwise(f"add.{mode}.f32 fd, fa, fc;", three(a, a, c), ("fd", "f32"))
    exact = [Fraction(float(x)) + Fraction(float(z)) for x, z in zip(a, c, strict=True)]
    assert_same(found, [rounded(v, mode) for v in exact])


def test_a_tie_of_halves_is_broken_by_what_is_far_below() -> None:
    def bits(*values: float) -> Array:
        return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)

    # 1.0625 squared is 1 + 2**-3 + 2**-8, halfway between two bf16.
    given = {"ha": ("b16", bits(*[1.0625] * 3)), "hb": ("b16", bits(0.0, 2.0**-90, -(2.0**-90)))}
    found = elementwise("fma.rn.bf16 hd, ha, ha, hb;", given, ("hd", "b16"))
    assert_same(found, bits(1.125, 1.1328125, 1.125))


def test_a_carry_runs_through_several_words() -> None:
    code = "add.cc.u32 wd, wa, wb; addc.cc.u32 wd, wc, 0; addc.u32 wd, wb, 0;"
    ones = 0xFFFFFFFF
    given = {"wa": ("b32", [ones, ones, 1]), "wb": ("b32", [1, 1, 1]), "wc": ("b32", [ones, 5, ones])}
    assert_same(elementwise(code, given, ("wd", "b32")), [2, 1, 1])
    borrow = "sub.cc.u32 wd, wa, wb; subc.cc.u32 wd, wc, 0; subc.u32 wd, wb, 0;"
    given = {"wa": ("b32", [0, 0, 9]), "wb": ("b32", [1, 1, 1]), "wc": ("b32", [0, 5, 0])}
    assert_same(elementwise(borrow, given, ("wd", "b32")), [0, 1, 1])
