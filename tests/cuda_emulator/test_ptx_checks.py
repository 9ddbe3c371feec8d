"""Checked runs: a kernel that is right shows nothing, and each fault planted in it is found where it is."""

from __future__ import annotations

import numpy as np
import pytest
from alexdsl_cuda import emulator
from alexdsl_cuda.emulator import Memory, Report

from tests.cuda_emulator.ptx_text import kernel, place

HEAD = ".shared .align 16 .b8 cells[512];\n"
REVERSE = (
    place("x", 4)
    + """ld.global.f32 fa, [%at];
  shl.b32 wa, %t, 2; mov.u32 wb, cells; add.u32 wc, wb, wa;
  st.shared.f32 [wc], fa;
  bar.sync 0;
  xor.b32 wd, wa, 508; add.u32 wc, wb, wd;
  ld.shared.f32 fb, [wc];
"""
    + place("y", 4)
    + """st.global.f32 [%at], fb;
  ret;"""
)
"""y = x reversed, 128 numbers, through shared memory."""
COPY = (
    place("x", 4)
    + """shl.b32 wa, %t, 2; mov.u32 wb, cells; add.u32 wc, wb, wa;
  cp.async.ca.shared.global [wc], [%at], 4;
  cp.async.commit_group;
  cp.async.wait_group 0;
  bar.sync 0;
  xor.b32 wd, wa, 508; add.u32 wc, wb, wd;
  ld.shared.f32 fb, [wc];
"""
    + place("y", 4)
    + """st.global.f32 [%at], fb;
  ret;"""
)
"""The same with asynchronous copies."""


def check(body: str, threads: int = 128, grid: int = 1, size: int = 128, *, written: bool = True) -> Report:
    """Checks a kernel from ``x`` to ``y``, of ``size`` numbers each."""
    memory = Memory()
    x, y = memory.array(size, np.float32, "x"), memory.array(size, np.float32, "y")
    x[:] = np.arange(size)
    if written:
        memory.mark_written(x)
    module = emulator.Module(kernel(body, [".param .u64 x", ".param .u64 y"], head=HEAD))
    pointers = [x.ctypes.data, y.ctypes.data]
    return emulator.check(module, "k", (grid, 1, 1), (threads, 1, 1), pointers, memory)


def only(report: Report, kind: str) -> emulator.Finding:
    assert [f.kind for f in report.findings] == [kind], str(report)
    return report.findings[0]


def replaced(body: str, old: str, new: str) -> str:
    assert body.count(old) == 1
    return body.replace(old, new)


@pytest.mark.parametrize("body", [REVERSE, COPY])
def test_what_is_right_shows_nothing_and_is_counted(body: str) -> None:
    report = check(body)
    assert not report.findings, str(report)
    counts = report.counts
    assert (counts.blocks, counts.threads, counts.fma) == (1, 128, 0)
    assert (counts.bytes_read, counts.bytes_written) == (512, 512)
    assert counts.transfers("global") == (32, 32)
    assert counts.transfers("shared") == (8, 8)
    assert counts.instructions["bar.sync"] == counts.instructions["st.global.f32"] == 128
    assert counts.instructions["mov.u32"] == 128 * 3


def test_an_index_off_by_one_is_outside() -> None:
    found = only(check(replaced(REVERSE, "st.global.f32 [%at]", "st.global.f32 [%at+4]")), "outside")
    assert (found.thread, found.block, found.times) == (127, (0, 0, 0), 1)
    assert "st.global.f32 at byte 512 of 'y', which has 512" in str(found)
    shared = replaced(REVERSE, "ld.shared.f32 fb, [wc]", "ld.shared.f32 fb, [wc+4]")
    found = next(f for f in check(shared).findings if f.kind == "outside")
    assert (found.thread, found.address) == (0, 512)


def test_the_memory_that_is_missing_is_left_alone() -> None:
    memory = Memory()
    y = memory.array(64, np.float32, "y")
    x = np.ones(64, np.float32)
    guarded = replaced(REVERSE, "st.shared.f32 [wc], fa;", "st.shared.f32 [wc], 0f40000000;")
    module = emulator.Module(kernel(guarded, [".param .u64 x", ".param .u64 y"], head=HEAD))
    report = emulator.check(module, "k", (1, 1, 1), (128, 1, 1), [x.ctypes.data, y.ctypes.data], memory)
    assert [(f.kind, f.times) for f in report.findings] == [("outside", 128), ("outside", 64)]
    assert (y == 2).all()


def test_a_crooked_address_is_misaligned() -> None:
    found = only(
        check(replaced(REVERSE, "ld.global.f32 fa, [%at]", "ld.global.v2.f32 {fa, _}, [%at]"), size=129), "misaligned"
    )
    assert (found.thread, found.times) == (1, 64)


def test_allocations_begin_at_round_addresses() -> None:
    memory = Memory()
    parts = [memory.allocate(size) for size in (1, 300, 7)]
    assert [part.ctypes.data % 256 for part in parts] == [0] * 3
    with pytest.raises(ValueError, match="not allocated"):
        memory.mark_written(np.zeros(3))
    with pytest.raises(ValueError, match="contiguous"):
        memory.add(np.zeros((3, 4))[:, ::2])


def test_unwritten_memory_is_not_to_be_read() -> None:
    assert only(check(REVERSE, written=False), "unwritten").times == 128
    half = replaced(REVERSE, "st.shared.f32 [wc], fa;", "setp.lt.u32 p, %t, 100; @p st.shared.f32 [wc], fa;")
    found = only(check(half), "unwritten")
    assert (found.thread, found.times) == (0, 28)


def test_what_one_launch_wrote_the_next_may_read() -> None:
    memory = Memory()
    x, y, z = (memory.array(128, np.float32, name) for name in "xyz")
    x[:] = np.arange(128)
    memory.mark_written(x)
    module = emulator.Module(kernel(REVERSE, [".param .u64 x", ".param .u64 y"], head=HEAD))
    for a, b in ((x, y), (y, z)):
        report = emulator.check(module, "k", (1, 1, 1), (128, 1, 1), [a.ctypes.data, b.ctypes.data], memory)
        assert not report.findings, str(report)
    assert (z == x).all()


def test_a_missing_barrier_is_a_race() -> None:
    report = check(replaced(REVERSE, "bar.sync 0;", ""))
    races = [f for f in report.findings if f.kind == "read-write race"]
    assert {f.kind for f in report.findings} <= {"read-write race", "unwritten"}
    # Threads run one after the other: of each pair the first reads before the other writes, the second after.
    assert sum(f.times for f in races) == 128
    assert "the other thread is" in str(races[0])


def test_a_barrier_of_the_warp_orders_its_threads_only() -> None:
    within = replaced(REVERSE, "bar.sync 0;", "bar.warp.sync -1;")
    assert [f.kind for f in check(replaced(within, "xor.b32 wd, wa, 508", "xor.b32 wd, wa, 124")).findings] == []
    kinds = {f.kind for f in check(within).findings}
    assert "read-write race" in kinds
    nothing = replaced(replaced(REVERSE, "bar.sync 0;", ""), "xor.b32 wd, wa, 508", "xor.b32 wd, wa, 124")
    assert "read-write race" in {f.kind for f in check(nothing).findings}


def test_going_in_step_orders_nothing() -> None:
    """All lanes of a warp read before its first lane writes, only because a shuffle lies between."""
    code = "bar.sync 0; ld.shared.u32 wd, [cells]; shfl.sync.idx.b32 wd, wd, 0, 31, -1; setp.eq.u32 p, %t, 0;"
    body = REVERSE.replace("bar.sync 0;", code + "@p st.shared.u32 [cells], wd; bar.sync 0;")
    found = check(body, threads=32).findings
    assert "read-write race" in {f.kind for f in found}
    synced = body.replace("@p st.shared", "bar.warp.sync -1; @p st.shared")
    assert "read-write race" not in {f.kind for f in check(synced, threads=32).findings}


def test_two_writers_of_one_place_are_a_race_unless_atomic() -> None:
    same = replaced(REVERSE, "st.shared.f32 [wc], fa;", "st.shared.f32 [wc], fa; st.shared.f32 [cells], fa;")
    found = only(check(same), "write-write race")
    assert found.times == 127
    atomic = (
        "bar.sync 0; red.shared.add.u32 [cells], 1; bar.sync 0; ld.shared.u32 wd, [cells]; bar.sync 0; mov.u32 wd, wd;"
    )
    assert not check(replaced(REVERSE, "bar.sync 0;", atomic)).findings
    mixed = replaced(REVERSE, "bar.sync 0;", "bar.sync 0; red.shared.add.u32 [cells], 1;")
    assert "read-write race" in {f.kind for f in check(mixed).findings}


def test_a_copy_must_be_waited_for() -> None:
    report = check(replaced(COPY, "cp.async.wait_group 0;", ""))
    assert only(report, "copy not waited for").times == 128
    assert only(check(replaced(COPY, "cp.async.wait_group 0;", "cp.async.wait_group 1;")), "copy not waited for")
    assert not check(replaced(COPY, "cp.async.wait_group 0;", "cp.async.wait_all;")).findings
    late = replaced(
        replaced(COPY, "cp.async.wait_group 0;", ""), "bar.sync 0;", "bar.sync 0;\n  cp.async.wait_group 0;"
    )
    found = only(check(late), "copy not waited for")
    assert "the other thread is 127" in found.text


def test_own_copies_need_no_barrier() -> None:
    own = replaced(replaced(COPY, "bar.sync 0;", ""), "xor.b32 wd, wa, 508", "mov.b32 wd, wa")
    assert not check(own).findings
    assert only(check(replaced(own, "cp.async.wait_group 0;", "")), "copy not waited for")


def test_pipelined_copies_wait_for_the_older_group() -> None:
    two = replaced(
        COPY, "cp.async.commit_group;",
        "cp.async.commit_group; cp.async.ca.shared.global [more], [%at], 4; cp.async.commit_group;",
    )  # fmt: skip
    two = two.replace("[more]", "[wc+512]")
    for wait, kinds in (("1", []), ("0", []), ("2", ["copy not waited for"])):
        memory = Memory()
        x, y = memory.array(128, np.float32), memory.array(128, np.float32)
        memory.mark_written(x)
        body = replaced(two, "cp.async.wait_group 0;", f"cp.async.wait_group {wait};")
        text = kernel(body, [".param .u64 x", ".param .u64 y"], head=HEAD.replace("512", "1024"))
        pointers = [x.ctypes.data, y.ctypes.data]
        report = emulator.check(emulator.Module(text), "k", (1, 1, 1), (128, 1, 1), pointers, memory)
        assert [f.kind for f in report.findings] == kinds


def test_barriers_in_branches_are_found() -> None:
    parted = "setp.lt.u32 p, %t, 64;\n  @p bra LOW;\n  bar.sync 0;\n  bra.uni JOIN;\nLOW:\n  bar.sync 0;\nJOIN:"
    found = only(check(replaced(REVERSE, "bar.sync 0;", parted)), "divergent barrier")
    assert "is reached while other threads wait elsewhere" in found.text
    gone = "setp.ge.u32 p, %t, 120;\n  @p ret;\n  bar.sync 0;"
    kinds = [f.kind for f in check(replaced(REVERSE, "bar.sync 0;", gone)).findings]
    assert kinds == ["barrier without exited threads"]


def test_waiting_for_ever_is_found() -> None:
    found = only(check(replaced(REVERSE, "bar.sync 0;", "bar.sync 0, 256;")), "stuck")
    assert "waits for threads that do not come" in found.text


def test_a_bank_conflict_is_counted() -> None:
    stride = replaced(REVERSE, "xor.b32 wd, wa, 508;", "and.b32 wd, %t, 31; shl.b32 wd, wd, 4;")
    report = check(stride)
    (loads,) = (a for a in report.counts.accesses if a.opcode == "ld.shared.f32")
    assert (loads.requests, loads.transfers, loads.ideal, loads.bytes) == (4, 16, 4, 512)
    everyone = replaced(REVERSE, "xor.b32 wd, wa, 508;", "mov.b32 wd, 0;")
    assert check(everyone).counts.transfers("shared") == (8, 8)


def test_wide_accesses_go_by_parts_of_the_warp() -> None:
    wide = replaced(
        REVERSE,
        "ld.shared.f32 fb, [wc];",
        "and.b32 wc, %t, 31; shl.b32 wc, wc, 4; ld.shared.v4.f32 {fa, fb, fc, fd}, [wc];",
    )
    (loads,) = (a for a in check(wide).counts.accesses if a.opcode == "ld.shared.v4.f32")
    assert (loads.requests, loads.transfers, loads.ideal) == (4, 16, 16)


def test_scattered_requests_take_more_sectors() -> None:
    apart = replaced(
        REVERSE,
        "ld.global.f32 fa, [%at]",
        "mul.lo.u32 wd, %t, 32; cvt.u64.u32 lb, wd; ld.param.u64 la, [x]; add.s64 la, la, lb; ld.global.f32 fa, [la]",
    )
    (loads, _) = (a for a in check(apart, size=1024).counts.accesses if a.space == "global")
    assert (loads.requests, loads.transfers, loads.ideal) == (4, 128, 16)


def test_blocks_that_meet_in_memory_are_found() -> None:
    found = only(check(REVERSE, grid=3), "race between blocks")
    assert (found.times, found.block) == (256, (1, 0, 0))
    atomic = replaced(REVERSE, "st.global.f32 [%at], fb;", "red.global.add.f32 [%at], fb;")
    report = check(atomic, grid=3)
    assert {f.kind for f in report.findings} == {"unwritten"}
    reads = replaced(REVERSE, "st.global.f32 [%at], fb;", "ld.param.u64 la, [x]; st.global.f32 [la], fb;")
    assert "race between blocks" in {f.kind for f in check(reads, grid=2).findings}
    late = "mov.u32 wd, %ctaid.x; setp.eq.u32 p, wd, 1; ld.param.u64 la, [x]; add.s64 la, la, %offset;"
    only_last = check(replaced(REVERSE, "st.global.f32 [%at], fb;", late + "@p st.global.f32 [la], fb;"), grid=2)
    assert only(only_last, "race between blocks").block == (1, 0, 0)


def test_threads_that_meet_in_memory_are_found() -> None:
    body = replaced(REVERSE, "st.global.f32 [%at], fb;", "ld.param.u64 la, [y]; st.global.f32 [la], fb;")
    assert only(check(body), "write-write race").times == 127


def test_a_sample_of_blocks() -> None:
    memory = Memory()
    x, y = memory.array(512, np.float32), memory.array(512, np.float32)
    x[:] = 1
    memory.mark_written(x)
    shift = "  mov.u32 %t, %tid.x;\n"
    body = REVERSE.replace(shift, shift + "  mov.u32 wd, %ctaid.y; shl.b32 wd, wd, 7; add.u32 %t, %t, wd;\n")
    body = body.replace("shl.b32 wa, %t, 2;", "mov.u32 wa, %tid.x; shl.b32 wa, wa, 2;")
    module = emulator.Module(kernel(body, [".param .u64 x", ".param .u64 y"], head=HEAD))
    pointers = [x.ctypes.data, y.ctypes.data]
    y[:] = 0
    report = emulator.check(module, "k", (1, 4, 1), (128, 1, 1), pointers, memory, blocks=[(0, 1, 0), (0, 3, 0)])
    assert not report.findings, str(report)
    assert report.counts.blocks == 2
    assert y.reshape(4, 128).all(axis=1).tolist() == [False, True, False, True]


def test_findings_name_the_source_line() -> None:
    body = replaced(REVERSE, "st.global.f32 [%at]", ".loc 1 42 7\nst.global.f32 [%at+4]")
    memory = Memory()
    x = memory.array(128, np.float32)
    memory.mark_written(x)
    text = kernel(body, [".param .u64 x", ".param .u64 y"], head=HEAD) + '.file 1 "/somewhere/net.py"\n'
    report = emulator.check(emulator.Module(text), "k", (1, 1, 1), (128, 1, 1), [x.ctypes.data] * 2, memory)
    found = next(f for f in report.findings if f.kind == "outside")
    assert found.source == ("/somewhere/net.py", 42)
    assert text.splitlines()[found.line - 1].startswith("st.global.f32")
