"""Loads, stores, atomics, copies, calls and address spaces of the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from alexdsl_cuda import emulator

from tests.cuda_emulator.ptx_text import DTYPES, assert_same, elementwise, kernel, place


def run(text: str, arrays: list[Any], threads: int = 1, shared: int = 0, grid: int = 1) -> None:
    module = emulator.Module(text)
    emulator.launch(module, "k", (grid, 1, 1), (threads, 1, 1), [a.ctypes.data for a in arrays], shared)


@pytest.mark.parametrize("type", ["u8", "s8", "u16", "s16", "u32", "s32"])
def test_narrow_loads_fill_registers_by_sign(type: str) -> None:
    values = np.array([0, 1, -1, -100], np.int64).astype(DTYPES[type])
    found = elementwise("cvt.s64.s32 ld, wa;", {"wa": (type, values)}, ("ld", "s64"))
    assert_same(found, values.astype(np.int64) if type != "u32" else values.astype(np.int32).astype(np.int64))


def test_vectors_and_offsets() -> None:
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    body = """
  ld.param.u64 la, [x]; ld.param.u64 lb, [y];
  ld.global.nc.L1::no_allocate.v4.f32 {fa, fb, fc, fd}, [la+16];
  st.global.v4.f32 [lb], {fd, fc, fb, fa};
  ld.global.v2.f32 {fa, _}, [la];
  add.s64 la, la, 8;
  ld.volatile.global.f32 fb, [la+-4];
  st.global.v2.f32 [lb+16], {fa, fb};
  ret;"""
    run(kernel(body, [".param .u64 x", ".param .u64 y"]), [x, y])
    assert_same(y, [7, 6, 5, 4, 0, 1, 0, 0])


def test_parameters_of_all_sizes() -> None:
    y = np.zeros(3, np.float64)
    body = """
  ld.param.u64 la, [y];
  ld.param.s8 ha, [a]; cvt.rn.f64.s16 da, ha; st.global.f64 [la], da;
  ld.param.f32 fa, [b]; cvt.f64.f32 da, fa; st.global.f64 [la+8], da;
  ld.param.f64 da, [c]; st.global.f64 [la+16], da;
  ret;"""
    text = kernel(body, [".param .s8 a", ".param .f32 b", ".param .u64 y", ".param .f64 c"])
    module = emulator.Module(text)
    info = module.kernels["k"]
    assert [(p.type, p.offset, p.size) for p in info.params] == [
        ("s8", 0, 1),
        ("f32", 4, 4),
        ("u64", 8, 8),
        ("f64", 16, 8),
    ]
    emulator.launch(module, "k", (1, 1, 1), (1, 1, 1), [-3, 1.5, y.ctypes.data, 2.25])
    assert_same(y, [-3, 1.5, 2.25])
    with pytest.raises(emulator.LaunchError, match="takes 4 parameters, not 1"):
        emulator.launch(module, "k", (1, 1, 1), (1, 1, 1), [0])
    with pytest.raises(emulator.LaunchError, match="takes 24 bytes of parameters, not 3"):
        emulator.launch(module, "k", (1, 1, 1), (1, 1, 1), b"abc")


def test_constant_and_global_variables() -> None:
    y = np.zeros(3, np.uint32)
    head = """.const .align 4 .b8 table[8] = {1, 0, 0, 0, 2, 0, 0, 0};
.global .align 4 .u32 number = 7;
.const .align 1 .b8 __conststring__$9_25lld_0a[6] = {37, 108, 108, 100, 10};
"""
    body = """
  ld.param.u64 lb, [y];
  ld.const.u32 wa, [table+4]; st.global.u32 [lb], wa;
  ld.global.u32 wa, [number]; st.global.u32 [lb+4], wa;
  mov.u64 la, table; cvta.const.u64 la, la; ld.u32 wa, [la]; st.global.u32 [lb+8], wa;
  ret;"""
    run(kernel(body, [".param .u64 y"], head=head), [y])
    assert_same(y, [2, 7, 1])


def test_shared_memory_static_and_extern() -> None:
    """The launch's shared memory lies behind what the kernel declares; shared addresses are generic ones after cvta."""
    y = np.zeros(64, np.uint32)
    head = ".extern .shared .align 16 .b8 more[];\n.visible .shared .align 4 .b8 fixed[100];\n"
    body = (
        """
  mov.u32 %t, %tid.x; shl.b32 wa, %t, 2;
  mov.u32 wb, more; add.s32 wb, wb, wa; st.shared.u32 [wb], %t;
  mov.u32 wb, fixed; add.s32 wb, wb, wa; setp.lt.u32 p, %t, 25; @p st.shared.u32 [wb], 100;
  bar.sync 0;
  mov.u64 la, more; cvta.shared.u64 la, la; cvt.u64.u32 lb, wa; sub.s64 la, la, lb;
  ld.u32 wc, [la+252];
  cvta.to.shared.u64 lc, la; ld.shared.u32 wd, [lc+252]; add.s32 wc, wc, wd;
  ld.shared.u32 wd, [fixed+96]; add.s32 wc, wc, wd;
  mov.u32 wd, %dynamic_smem_size; add.s32 wc, wc, wd;
"""
        + place("y", 4)
        + "st.global.u32 [%at], wc; ret;"
    )
    text = kernel(body, [".param .u64 y"], head=head)
    assert emulator.Module(text).kernels["k"].static_shared == 112
    run(text, [y], threads=64, shared=256)
    assert_same(y, [2 * (63 - t) + 100 + 256 for t in range(64)])


def test_local_memory_outlives_barriers() -> None:
    y = np.zeros(64, np.float32)
    body = (
        """
  mov.u64 %SPL, depot; cvta.local.u64 %SP, %SPL;
  mov.u32 %t, %tid.x; cvt.rn.f32.u32 fa, %t;
  add.u64 la, %SPL, 8; st.local.f32 [la], fa; mul.f32 fb, fa, 0f40000000; st.local.f32 [la+4], fb;
  bar.sync 0;
  add.u64 lb, %SP, 0; ld.f32 fc, [lb+12]; ld.local.f32 fd, [depot+8]; add.f32 fc, fc, fd;
"""
        + place("y", 4)
        + "st.global.f32 [%at], fc; ret;"
    )
    declarations = "  .local .align 8 .b8 depot[16];\n  .reg .b64 %SP;\n  .reg .b64 %SPL;\n"
    run(kernel(body, [".param .u64 y"], declarations), [y], threads=64)
    assert_same(y, np.arange(64) * 3)


@pytest.mark.parametrize("space", ["global", "shared"])
def test_atomics(space: str) -> None:
    ops = {"add.u32": 2016 + 9, "max.s32": 63, "min.u32": 0, "or.b32": 63, "xor.b32": 9, "and.b32": 0, "exch.b32": 63,
           "inc.u32": 3, "dec.u32": 0}  # fmt: skip
    for op, expected in ops.items():
        y = np.full(1, 9, np.uint32)
        operand = {"inc.u32": "10", "dec.u32": "8"}.get(op, "%t")
        cell = "[la]" if space == "global" else "[cell]"
        body = f"""
  mov.u32 %t, %tid.x; ld.param.u64 la, [y]; setp.eq.u32 p, %t, 0;
  @p st.shared.u32 [cell], 9; bar.sync 0;
  atom.{space}.{op} wa, {cell}, {operand};
  bar.sync 0; @!p ret;
  ld.{space}.u32 wa, {cell}; st.global.u32 [la], wa; ret;"""
        run(kernel(body, [".param .u64 y"], head=".shared .align 4 .b8 cell[4];\n"), [y], threads=64)
        if op == "inc.u32":  # modulo 11, from 9
            expected = (9 + 64) % 11
        elif op == "dec.u32":  # modulo 9, from 9, which is above the bound and becomes it
            expected = (8 - 63) % 9
        assert int(y[0]) == expected, op


def test_atomics_of_many_blocks_lose_nothing() -> None:
    y, z, w = np.zeros(1, np.float32), np.zeros(1, np.float64), np.zeros(1, np.uint32)
    body = """
  ld.param.u64 la, [y]; ld.param.u64 lb, [z]; ld.param.u64 lc, [w];
  atom.global.add.f32 fa, [la], 0f3F800000; red.global.add.f64 [lb], 0d3FF0000000000000;
AGAIN:
  ld.global.u32 wa, [lc]; add.s32 wb, wa, 1; atom.global.cas.b32 wc, [lc], wa, wb; setp.ne.s32 p, wc, wa; @p bra AGAIN;
  ret;"""
    run(kernel(body, [f".param .u64 {n}" for n in "yzw"]), [y, z, w], threads=128, grid=500)
    assert y[0] == z[0] == w[0] == 64000


@pytest.mark.parametrize(("size", "taken"), [(4, 4), (8, 5), (16, 16), (16, 0), (16, 7)])
def test_asynchronous_copies_fill_with_zeros(size: int, taken: int) -> None:
    x, y = np.arange(1, 17, dtype=np.uint8), np.zeros(16, np.uint8)
    kind = "cg" if size == 16 else "ca"
    body = f"""
  ld.param.u64 la, [x]; ld.param.u64 lb, [y]; mov.u32 wa, cell; mov.u32 wb, {taken};
  st.shared.v4.u32 [wa], {{-1, -1, -1, -1}};
  cp.async.{kind}.shared.global.L2::128B [wa], [la], {size}, wb;
  cp.async.commit_group; cp.async.wait_group 0;
  ld.shared.v4.u32 {{wa, wb, wc, wd}}, [wa]; st.global.v4.u32 [lb], {{wa, wb, wc, wd}};
  ret;"""
    run(kernel(body, [".param .u64 x", ".param .u64 y"], head=".shared .align 16 .b8 cell[16];\n"), [x, y])
    assert_same(y, [*x[:taken], *([0] * (size - taken)), *([255] * (16 - size))])


def test_calls_of_functions() -> None:
    head = """
.func (.param .b64 func_retval0) half(.param .b64 half_param_0, .param .b32 half_param_1)
{
  .reg .f64 %fd<3>; .reg .b32 %r<2>;
  ld.param.f64 %fd0, [half_param_0]; ld.param.u32 %r0, [half_param_1];
  cvt.rn.f64.u32 %fd1, %r0; fma.rn.f64 %fd2, %fd0, 0d3FE0000000000000, %fd1;
  st.param.f64 [func_retval0+0], %fd2;
  ret;
}
"""
    call = """
  { // callseq 0, 0
  .reg .b32 temp_param_reg;
  .param .b64 param0;
  st.param.f64 [param0+0], da;
  .param .b32 param1;
  st.param.b32 [param1+0], 3;
  .param .b64 retval0;
  call.uni (retval0), half, (param0, param1);
  ld.param.f64 dd, [retval0+0];
  }"""
    body = (
        place("x", 8) + "ld.global.f64 da, [%at];" + call + "mov.f64 da, dd;" + call + "st.global.f64 [%at], dd; ret;"
    )
    x = np.array([1.0, -4.0, 8.0])
    run(kernel(body, [".param .u64 x"], head=head), [x], threads=3)
    assert_same(x, np.array([0.25, -1.0, 2.0]) + 4.5)


def test_what_is_not_there_is_refused_with_its_line() -> None:
    head = ".extern .func (.param .b32 func_retval0) vprintf(.param .b64 a, .param .b64 b);\n"
    body = "  .param .b64 p0;\n  .param .b32 r0;\n  call.uni (r0), vprintf, (p0, p0);\n  ret;"
    with pytest.raises(emulator.PtxError, match=r"PTX line \d+: call\.uni: 'vprintf' is not in the PTX text"):
        emulator.Module(kernel(body, head=head)).compiled("k")
    for code, message in (
        ("wgmma.fence.sync.aligned;", "wgmma.fence.sync.aligned: it is not understood"),
        ("add.rm.f64 da, da, db;", "f64 is rounded to nearest only"),
        ("min.xorsign.abs.f32 fa, fa, fb;", r"'\.xorsign' is not understood"),
        ("mov.u32 wa, %clock;", "neither a declared register"),
        ("mov.u32 wa, nothing;", "'nothing' is not declared"),
        ("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {da, db}, {dc}, {dd}, {da, db};", "not understood"),
    ):
        text = kernel(code + "\n  ret;")
        with pytest.raises(emulator.PtxError, match=message) as error:
            emulator.Module(text).compiled("k")
        line = text.splitlines().index(code) + 1
        assert f"PTX line {line}:" in str(error.value)


def test_nested_scopes_have_their_own_registers_and_labels_jump() -> None:
    code = """
  { .reg .pred p; .reg .b32 wa; mov.u32 wa, 5; setp.eq.u32 p, wa, 5; @p mov.u32 wd, wa; }
  { .reg .b32 wa; mov.u32 wa, 1; { .reg .b32 wa; mov.u32 wa, 100; add.s32 wd, wd, wa; } add.s32 wd, wd, wa; }
  add.s32 wd, wd, wa;"""
    assert_same(elementwise(code, {"wa": ("b32", [1000, 2000])}, ("wd", "b32")), [1106, 2106])


def test_jump_tables() -> None:
    code = """
  mov.u32 wd, 9;
  setp.gt.u32 p, wa, 2; @p bra END;
  ts: .branchtargets ZERO, ONE, ZERO;
  brx.idx wa, ts;
ZERO: mov.u32 wd, 10; bra.uni END;
ONE: mov.u32 wd, 11;
END:"""
    assert_same(elementwise(code, {"wa": ("b32", [0, 1, 2, 3])}, ("wd", "b32")), [10, 11, 10, 9])


def test_a_trap_ends_the_launch() -> None:
    with pytest.raises(emulator.LaunchError, match="executed a trap"):
        emulator.launch(emulator.Module(kernel("trap;")), "k", (1, 1, 1), (32, 1, 1), [])


def test_special_registers() -> None:
    y = np.zeros((2 * 3 * 2, 3 * 5 * 4, 4), np.uint32)
    body = """
  mov.u32 wa, %ctaid.z; mov.u32 wb, %nctaid.y; mad.lo.u32 wa, wa, wb, 0; mov.u32 wb, %ctaid.y; add.u32 wa, wa, wb;
  mov.u32 wb, %nctaid.x; mov.u32 wc, %ctaid.x; mad.lo.u32 wa, wa, wb, wc;
  mov.u32 wb, %tid.z; mov.u32 wc, %ntid.y; mov.u32 wd, %tid.y; mad.lo.u32 wb, wb, wc, wd;
  mov.u32 wc, %ntid.x; mov.u32 wd, %tid.x; mad.lo.u32 wb, wb, wc, wd;
  mov.u32 wc, %ntid.z; mul.lo.u32 wc, wc, 15; mad.lo.u32 wd, wa, wc, wb;
  ld.param.u64 la, [y]; mul.wide.u32 lb, wd, 16; add.s64 la, la, lb;
  mov.u32 wc, %laneid; mov.u32 wd, %warpid;
  st.global.v4.u32 [la], {wa, wb, wc, wd}; ret;"""
    emulator.launch(emulator.Module(kernel(body, [".param .u64 y"])), "k", (2, 3, 2), (3, 5, 4), [y.ctypes.data])
    block, thread = np.indices(y.shape[:2])
    assert_same(y, np.stack([block, thread, thread % 32, thread // 32], axis=-1))
