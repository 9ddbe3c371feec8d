"""Barriers and what warps do together, against the definitions of the PTX manual."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from alexdsl_cuda import emulator

from tests.cuda_emulator.ptx_text import assert_same, elementwise, kernel, place

LANES = np.arange(32, dtype=np.uint32)


def shuffled(mode: str, b: int, c: int) -> tuple[list[int], list[int]]:
    """The manual's definition: for each lane the lane it reads, and whether that is in range."""
    sources, valid = [], []
    for lane in range(32):
        segment, clamp = c >> 8 & 31, c & 31
        most = (lane & segment) | (clamp & ~segment)
        least = lane & segment
        j = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": least | (b & ~segment)}[mode]
        good = j >= most if mode == "up" else j <= most
        sources.append(j if good else lane)
        valid.append(int(good))
    return sources, valid


@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
def test_shuffles(mode: str) -> None:
    for b in (0, 1, 3, 8, 16, 31):
        for c in (0x1F, 0, 0x181F, 0x1C1F, 0x1000):
            code = f"shfl.sync.{mode}.b32 wd|p, wa, {b}, {c}, -1; @p add.u32 wd, wd, 1000;"
            sources, valid = shuffled(mode, b, c)
            found = elementwise(code, {"wa": ("b32", LANES * 3)}, ("wd", "b32"))
            assert_same(found, [3 * s + 1000 * v for s, v in zip(sources, valid, strict=True)])


def test_a_sum_over_a_warp() -> None:
    values = np.random.default_rng(0).normal(size=64).astype(np.float32)
    code = "mov.f32 fd, fa;" + "".join(
        f"mov.b32 wa, fd; shfl.sync.bfly.b32 wb, wa, {n}, 31, -1; mov.b32 fb, wb; add.f32 fd, fd, fb;"
        for n in (16, 8, 4, 2, 1)
    )
    found = elementwise(code, {"fa": ("f32", values)}, ("fd", "f32"))
    expected = values.reshape(2, 32)
    for n in (16, 8, 4, 2, 1):
        expected = expected + expected[:, LANES ^ np.uint32(n)]
    assert_same(found, expected.ravel())


def test_votes() -> None:
    given = {"wa": ("b32", (LANES % 3 == 0).astype(np.uint32))}
    ballot = sum(1 << lane for lane in range(0, 32, 3))
    code = "setp.ne.u32 p, wa, 0; vote.sync.ballot.b32 wd, p, -1;"
    assert_same(elementwise(code, given, ("wd", "b32")), [ballot] * 32)
    for mode, all_zero, some, every in (("all", 0, 0, 1), ("any", 0, 1, 1), ("uni", 1, 0, 1)):
        for values, expected in ((0 * LANES, all_zero), (LANES % 3, some), (LANES * 0 + 1, every)):
            code = f"setp.ne.u32 p, wa, 0; vote.sync.{mode}.pred q, p, -1; selp.u32 wd, 1, 0, q;"
            assert_same(elementwise(code, {"wa": ("b32", values)}, ("wd", "b32")), [expected] * 32)


def test_reductions() -> None:
    values = np.random.default_rng(1).integers(-1000, 1000, 32).astype(np.int32)
    for op, expected in (("add.s32", values.sum()), ("min.s32", values.min()), ("max.s32", values.max())):
        found = elementwise(f"redux.sync.{op} wd, wa, -1;", {"wa": ("s32", values)}, ("wd", "s32"))
        assert_same(found, [expected] * 32)
    found = elementwise("redux.sync.xor.b32 wd, wa, -1;", {"wa": ("s32", values)}, ("wd", "s32"))
    assert_same(found, [np.bitwise_xor.reduce(values)] * 32)


def test_parts_of_a_warp_act_apart() -> None:
    """Lanes on two sides of a branch vote with their own masks, and see only themselves active."""
    code = """
  setp.lt.u32 p, wa, 8; @p bra LOW;
  setp.lt.u32 q, wa, 30; vote.sync.ballot.b32 wb, q, 0xFFFFFF00; activemask.b32 wc; bra.uni JOIN;
LOW:
  setp.lt.u32 q, wa, 5; vote.sync.ballot.b32 wb, q, 0xFF; activemask.b32 wc;
JOIN:
  bar.warp.sync -1; xor.b32 wd, wb, wc;"""
    found = elementwise(code, {"wa": ("b32", LANES)}, ("wd", "b32"))
    assert_same(found, [0x1F ^ 0xFF] * 8 + [0x3FFFFF00 ^ 0xFFFFFF00] * 24)


def test_threads_that_have_ended_are_not_waited_for() -> None:
    code = """
  setp.ge.u32 p, wa, 40; @p bra END;
  vote.sync.ballot.b32 wd, !p, -1; bar.sync 0; add.u32 wd, wd, 1;
END:"""
    # The stores behind the label are skipped by returning early instead.
    code = code.replace("@p bra END", "@p ret").replace("END:", "")
    found = elementwise(code, {"wa": ("b32", np.arange(64))}, ("wd", "b32"))
    assert_same(found, [0] * 32 + [0x100] * 8 + [0] * 24)


def test_barriers_with_votes() -> None:
    values = np.arange(96) % 5
    given = {"wa": ("b32", values)}
    code = "setp.eq.u32 p, wa, 0; bar.red.popc.u32 wd, 0, p;"
    assert_same(elementwise(code, given, ("wd", "u32")), [np.count_nonzero(values == 0)] * 96)
    for mode, expected in (("and", 0), ("or", 1)):
        code = f"setp.eq.u32 p, wa, 0; bar.red.{mode}.pred q, 0, p; selp.u32 wd, 1, 0, q;"
        assert_same(elementwise(code, given, ("wd", "u32")), [expected] * 96)
    code = "setp.lt.u32 p, wa, 5; bar.red.and.pred q, 0, p; selp.u32 wd, 1, 0, q;"
    assert_same(elementwise(code, given, ("wd", "u32")), [1] * 96)


def test_barriers_by_number_and_count() -> None:
    """Two halves of a block exchange values through barriers of their own, one of them twice as often."""
    head = ".shared .align 4 .b8 cells[512];\n"
    body = (
        """
  mov.u32 %t, %tid.x; shl.b32 wa, %t, 2; mov.u32 wb, cells; add.u32 wb, wb, wa; st.shared.u32 [wb], %t;
  setp.lt.u32 p, %t, 64; @p bra LOW;
  bar.sync 2, 64; xor.b32 wc, wa, 252; mov.u32 wb, cells; add.u32 wb, wb, wc; ld.shared.u32 wd, [wb];
  bar.sync 2, 64; bra.uni JOIN;
LOW:
  bar.sync 1, 64; xor.b32 wc, wa, 252; mov.u32 wb, cells; add.u32 wb, wb, wc; ld.shared.u32 wd, [wb];
JOIN:
  bar.sync 0;
"""
        + place("y", 4)
        + "st.global.u32 [%at], wd; ret;"
    )
    y = np.zeros(128, np.uint32)
    emulator.launch(
        emulator.Module(kernel(body, [".param .u64 y"], head=head)), "k", (1, 1, 1), (128, 1, 1), [y.ctypes.data]
    )
    assert_same(y, np.arange(128) ^ 63)


def test_waiting_for_ever_is_an_error() -> None:
    lonely = "mov.u32 %t, %tid.x; setp.lt.u32 p, %t, 32; @p bar.sync 1, 64; @!p bar.sync 2, 64; ret;"
    with pytest.raises(emulator.LaunchError, match=r"block \(0, 0, 0\): threads wait at a barrier"):
        emulator.launch(emulator.Module(kernel(lonely)), "k", (1, 1, 1), (64, 1, 1), [])
    parted = "mov.u32 %t, %tid.x; setp.lt.u32 p, %t, 16; @p bar.sync 0; @!p bar.warp.sync -1; ret;"
    with pytest.raises(emulator.LaunchError, match="threads of a warp wait"):
        emulator.launch(emulator.Module(kernel(parted)), "k", (1, 1, 1), (32, 1, 1), [])


def bf16_bits(values: Any) -> Any:
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


HALVES = {
    "bf16": (bf16_bits, lambda bits: (bits.astype(np.uint32) << 16).view(np.float32)),
    "f16": (lambda v: np.asarray(v, np.float16).view(np.uint16), lambda bits: bits.view(np.float16).astype(np.float32)),
}


@pytest.mark.parametrize("type", ["bf16", "f16"])
@pytest.mark.parametrize("depth", [8, 16])
def test_products_of_halves(type: str, depth: int) -> None:
    """The fragments' places are written out as in the manual's figures: element i of a lane at (row, column)."""
    random = np.random.default_rng(2)
    encode, decode = HALVES[type]
    a, b = encode(random.normal(size=(16, depth))), encode(random.normal(size=(depth, 8)))
    c = random.normal(size=(16, 8)).astype(np.float32)
    fa, fb, fc = (
        np.zeros((32, depth // 2), np.uint16),
        np.zeros((32, depth // 4), np.uint16),
        np.zeros((32, 4), np.float32),
    )
    for lane in range(32):
        group, member = lane >> 2, lane % 4
        for i in range(depth // 2):
            row = group if i < 2 or 4 <= i < 6 else group + 8
            fa[lane, i] = a[row, member * 2 + (i & 1) + (8 if i >= 4 else 0)]
        for i in range(depth // 4):
            fb[lane, i] = b[member * 2 + (i & 1) + (8 if i >= 2 else 0), group]
        for i in range(4):
            fc[lane, i] = c[group if i < 2 else group + 8, member * 2 + (i & 1)]
    y = np.zeros((32, 4), np.float32)
    words = depth // 4
    left = ", ".join(f"%a{k}" for k in range(words))
    right = ", ".join(f"%b{k}" for k in range(words // 2))
    declarations = "  .reg .b32 %a<4>, %b<2>;\n  .reg .f32 %c<4>;\n"
    load_a, load_b = (
        f"ld.global.v{n}.b32 {{{r}}}" if n > 1 else f"ld.global.b32 {r}"
        for n, r in ((words, left), (words // 2, right))
    )
    body = (
        place("a", 4 * words) + f"{load_a}, [%at];\n" + place("b", 2 * words) + f"{load_b}, [%at];\n"
        + place("c", 16) + "ld.global.v4.f32 {%c0, %c1, %c2, %c3}, [%at];\n"
        + f"mma.sync.aligned.m16n8k{depth}.row.col.f32.{type}.{type}.f32 "
        + f"{{%c0, %c1, %c2, %c3}}, {{{left}}}, {{{right}}}, {{%c0, %c1, %c2, %c3}};\n"
        + place("y", 16) + "st.global.v4.f32 [%at], {%c0, %c1, %c2, %c3}; ret;"
    )  # fmt: skip
    module = emulator.Module(kernel(body, [f".param .u64 {n}" for n in "abcy"], declarations))
    emulator.launch(module, "k", (1, 1, 1), (32, 1, 1), [v.ctypes.data for v in (fa, fb, fc, y)])
    expected = decode(a).astype(np.float64) @ decode(b).astype(np.float64) + c
    found = np.zeros((16, 8))
    for lane in range(32):
        for i in range(4):
            found[(lane >> 2) + (0 if i < 2 else 8), lane % 4 * 2 + (i & 1)] = y[lane, i]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_products_of_tf32() -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(size=(16, 8)).astype(np.float32), random.normal(size=(8, 8)).astype(np.float32)
    fa, fb, y = np.zeros((32, 4), np.float32), np.zeros((32, 2), np.float32), np.zeros((32, 4), np.float32)
    for lane in range(32):
        group, member = lane >> 2, lane % 4
        fa[lane] = [a[group, member], a[group + 8, member], a[group, member + 4], a[group + 8, member + 4]]
        fb[lane] = [b[member, group], b[member + 4, group]]
    declarations = "  .reg .b32 %a<4>, %b<2>;\n  .reg .f32 %c<4>;\n"
    body = (
        place("a", 16) + "ld.global.v4.b32 {%a0, %a1, %a2, %a3}, [%at];\n"
        + place("b", 8) + "ld.global.v2.b32 {%b0, %b1}, [%at];\n"
        + "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%c0, %c1, %c2, %c3}, {%a0, %a1, %a2, %a3}, {%b0, %b1}, "
        + "{0f3F800000, 0f3F800000, 0f3F800000, 0f3F800000};\n"
        + place("y", 16) + "st.global.v4.f32 [%at], {%c0, %c1, %c2, %c3}; ret;"
    )  # fmt: skip
    module = emulator.Module(kernel(body, [f".param .u64 {n}" for n in "aby"], declarations))
    emulator.launch(module, "k", (1, 1, 1), (32, 1, 1), [v.ctypes.data for v in (fa, fb, y)])
    cut = [(v.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64) for v in (a, b)]
    expected = cut[0] @ cut[1] + 1
    for lane in range(32):
        for i in range(4):
            row, column = (lane >> 2) + (0 if i < 2 else 8), lane % 4 * 2 + (i & 1)
            np.testing.assert_allclose(y[lane, i], expected[row, column], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("trans", [False, True])
def test_matrices_are_loaded_by_rows(count: int, trans: bool) -> None:
    """Lane 8m + r gives the address of row r of matrix m; lane l gets element (l / 4, 2 (l % 4)) and the next."""
    x = np.random.default_rng(4).integers(0, 65536, (32, 8)).astype(np.uint16)
    y = np.zeros((32, 4), np.uint32)
    targets = ", ".join(f"%m{k}" for k in range(count))
    body = (
        place("x", 16) + "ld.global.v4.b32 {wa, wb, wc, wd}, [%at];\n"
        # Rows lie in shared memory in reverse, so that the addresses matter.
        + "sub.u32 %t, 31, %t; shl.b32 %t, %t, 4; mov.u32 %r, cells; add.u32 %r, %r, %t;\n"
        + "st.shared.v4.b32 [%r], {wa, wb, wc, wd}; bar.sync 0;\n"
        + "mov.u32 %m0, 0; mov.u32 %m1, 0; mov.u32 %m2, 0; mov.u32 %m3, 0;\n"
        + f"ldmatrix.sync.aligned.m8n8.x{count}{'.trans' if trans else ''}.shared.b16 {{{targets}}}, [%r];\n"
        + place("y", 16) + "st.global.v4.b32 [%at], {%m0, %m1, %m2, %m3}; ret;"
    )  # fmt: skip
    head, declarations = ".shared .align 16 .b8 cells[512];\n", "  .reg .b32 %m<4>, %r;\n"
    module = emulator.Module(kernel(body, [".param .u64 x", ".param .u64 y"], declarations, head))
    emulator.launch(module, "k", (1, 1, 1), (32, 1, 1), [x.ctypes.data, y.ctypes.data])
    matrices = x.reshape(4, 8, 8)
    for lane in range(32):
        for m in range(count):
            matrix = matrices[m].T if trans else matrices[m]
            low, high = matrix[lane // 4, 2 * (lane % 4)], matrix[lane // 4, 2 * (lane % 4) + 1]
            assert y[lane, m] == int(low) | int(high) << 16
        assert not y[lane, count:].any()


def test_registers_outlive_barriers_on_every_path() -> None:
    """What only some paths write between two barriers keeps its value on the others."""
    parts = np.arange(64) % 2
    given = {"wa": ("b32", parts), "wb": ("b32", np.arange(64))}
    branch = """
  add.u32 wd, wb, 100; setp.eq.u32 p, wa, 0;
  bar.sync 0;
  @p bra PAST;
  mov.u32 wd, 5;
PAST:
  bar.sync 0;
  @!p add.u32 wd, wd, 1;"""
    assert_same(elementwise(branch, given, ("wd", "b32")), np.where(parts, 6, np.arange(64) + 100))
    guard = "add.u32 wd, wb, 100; bar.sync 0; setp.eq.u32 p, wa, 0; @p mov.u32 wd, 7; bar.sync 0;"
    assert_same(elementwise(guard, given, ("wd", "b32")), np.where(parts, np.arange(64) + 100, 7))
    loop = """
  mov.u32 wc, 0; mov.u32 wd, 0;
LOOP:
  bar.sync 0; add.u32 wd, wd, wb; shfl.sync.idx.b32 wb, wb, 0, 31, -1; add.u32 wc, wc, 1;
  setp.lt.u32 p, wc, 3; @p bra LOOP;"""
    first = np.arange(64) // 32 * 32
    assert_same(elementwise(loop, given, ("wd", "b32")), np.arange(64) + 2 * first)


def test_a_guarded_barrier_may_be_passed_by() -> None:
    """Where a guard does not hold, its lane goes on without waiting and keeps its registers."""
    given = {"wa": ("b32", np.arange(64))}
    code = """
  setp.lt.u32 p, wa, 32; mov.u32 wd, wa;
  @p bar.sync 1, 32;
  @p vote.sync.ballot.b32 wd, p, -1;
  add.u32 wd, wd, 1;"""
    assert_same(elementwise(code, given, ("wd", "b32")), [0] * 32 + list(range(33, 65)))
