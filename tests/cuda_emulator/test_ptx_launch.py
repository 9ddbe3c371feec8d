"""Launches: grids on several threads, the processor's floating-point state, what a launch refuses."""

from __future__ import annotations

import ctypes
import platform
import re

import numpy as np
import pytest
from alexdsl_cuda import emulator
from alexdsl_cuda.emulator.params import pack

from tests.cuda_emulator.ptx_text import assert_same, elementwise, kernel

HALVE = """
  mov.u32 wa, %ctaid.x; mov.u32 wb, %ntid.x; mov.u32 wc, %tid.x; mad.lo.u32 wd, wa, wb, wc;
  ld.param.u64 la, [x]; mul.wide.u32 lb, wd, 4; add.s64 la, la, lb;
  ld.param.u32 wc, [times];
AGAIN:
  ld.global.f32 fa, [la]; mul.f32 fa, fa, 0f3F000000; st.global.f32 [la], fa;
  sub.u32 wc, wc, 1; setp.ne.u32 p, wc, 0; @p bra AGAIN;
  ret;"""


@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_every_block_runs_once(threads: int | None) -> None:
    x = np.ones(1000 * 32, np.float32)
    module = emulator.Module(kernel(HALVE, [".param .u64 x", ".param .u32 times"]))
    # Work enough for several threads to be worth it.
    emulator.launch(module, "k", (1000, 1, 1), (32, 1, 1), [x.ctypes.data, 100], threads=threads)
    assert (x == np.float32(2.0**-100)).all()


def test_nothing_is_launched_for_an_empty_grid() -> None:
    emulator.launch(emulator.Module(kernel("trap;")), "k", (0, 1, 1), (32, 1, 1), [])


def test_blocks_have_a_thousand_threads_at_most() -> None:
    module = emulator.Module(kernel("ret;"))
    emulator.launch(module, "k", (1, 1, 1), (1024, 1, 1), [])
    for block in ((1025, 1, 1), (32, 33, 1), (0, 1, 1)):
        with pytest.raises(emulator.LaunchError, match="a block of"):
            emulator.launch(module, "k", (1, 1, 1), block, [])


@pytest.mark.parametrize("grid", [(1, 2**16, 1), (1, 1, 2**16), (2**31, 1, 1)])
def test_grids_are_no_larger_than_a_card_takes(grid: tuple[int, int, int]) -> None:
    with pytest.raises(emulator.LaunchError, match="a grid of"):
        emulator.launch(emulator.Module(kernel("ret;")), "k", grid, (1, 1, 1), [])


def test_the_kernel_is_named_that_is_not_there() -> None:
    with pytest.raises(emulator.LaunchError, match=re.escape("there is no kernel 'f'; there are ['k']")):
        emulator.launch(emulator.Module(kernel("ret;")), "f", (1, 1, 1), (1, 1, 1), [])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="sets the control register of x86")
def test_denormals_are_kept_whatever_the_caller_has_set() -> None:
    """The caller's state is as before afterwards: here flushing, as in the workers of the CPU backend."""
    import llvmlite.binding as llvm
    from alexdsl_cuda.emulator.native import _llvm

    _llvm()
    text = """
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)
define void @set(ptr %p) { call void @llvm.x86.sse.ldmxcsr(ptr %p) ret void }
define void @get(ptr %p) { call void @llvm.x86.sse.stmxcsr(ptr %p) ret void }
"""
    target = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target)
    set_state, get_state = (
        ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))(engine.get_function_address(n)) for n in ("set", "get")
    )
    before, flushing, after = ctypes.c_uint32(), ctypes.c_uint32(0x9FC0), ctypes.c_uint32()
    x = np.full(32, 1e-40, np.float32)
    expected = x * np.float32(0.5)
    module = emulator.Module(kernel(HALVE, [".param .u64 x", ".param .u32 times"]))
    module.compiled("k")
    get_state(before)
    set_state(flushing)
    try:
        emulator.launch(module, "k", (1, 1, 1), (32, 1, 1), [x.ctypes.data, 1])
        get_state(after)
    finally:
        set_state(before)
    assert after.value & 0xFFC0 == flushing.value
    assert_same(x, expected)
    assert x[0] != 0


def test_parameters_are_packed_by_their_types() -> None:
    places = [("u8", 0), ("b32", 4), ("u64", 8), ("f32", 16), ("s16", 20)]
    packed = pack(places, [255, 1.5, 2**63, 2, -2])
    assert packed == b"\xff\0\0\0\0\0\xc0\x3f" + bytes(7) + b"\x80" + b"\0\0\0\x40" + b"\xfe\xff"


def test_masks_of_lanes() -> None:
    lanes = np.arange(64) % 32
    masks = {"eq": 1 << lanes, "lt": (1 << lanes) - 1, "le": (2 << lanes) - 1}
    masks |= {"gt": 0xFFFFFFFF - masks["le"], "ge": 0xFFFFFFFF - masks["lt"]}
    for name, expected in masks.items():
        found = elementwise(f"mov.u32 wd, %lanemask_{name};", {"wa": ("b32", lanes)}, ("wd", "b32"))
        assert_same(found, expected)


def test_kinds_of_numbers() -> None:
    given = {"fa": ("f32", [0.0, -1.5, 1e-40, np.inf, np.nan])}
    for kind, expected in (("finite", [1, 1, 1, 0, 0]), ("infinite", [0, 0, 0, 1, 0]), ("number", [1, 1, 1, 1, 0]),
                           ("notanumber", [0, 0, 0, 0, 1]), ("normal", [0, 1, 0, 0, 0]),
                           ("subnormal", [0, 0, 1, 0, 0])):  # fmt: skip
        found = elementwise(f"testp.{kind}.f32 p, fa; selp.u32 wd, 1, 0, p;", given, ("wd", "u32"))
        assert_same(found, expected)
