"""Checked runs: a kernel's blocks one after the other, with every access looked at. Slow; a sample of blocks will do.

Found are: accesses outside all allocations and misaligned ones, reads of memory that nobody has written, races in
shared memory between two barriers (in global memory: writes against writes, and reads after writes), barriers that not
all threads reach together, asynchronous copies used before they are waited for, and bytes on which blocks depend on
each other. Not modelled: time, the order in which blocks see each other's writes, local memory, reads in global memory
that a write of the same block follows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from alexdsl_cuda.emulator import traffic, watch
from alexdsl_cuda.emulator.flow import is_block_barrier, is_sync
from alexdsl_cuda.emulator.launch import Context, Extent, Module, bytes_of
from alexdsl_cuda.emulator.memory import Memory
from alexdsl_cuda.emulator.native import jitted
from alexdsl_cuda.emulator.ops.memory import space_of
from alexdsl_cuda.emulator.ptx import WIDTHS, Instruction
from alexdsl_cuda.emulator.report import Access, Counts, Finding, Report
from alexdsl_cuda.emulator.schedule import STUCK_BLOCK, STUCK_WARP
from alexdsl_cuda.emulator.translate import Translation
from alexdsl_cuda.emulator.watch_ir import RECORD_BYTES

CAPACITY = 1 << 20
"""Records that the log holds before it is gone through."""
_RECORD = np.dtype([("address", np.int64), ("site", np.int32), ("word", np.uint32)])
assert _RECORD.itemsize == RECORD_BYTES
_Flush = ctypes.CFUNCTYPE(None)


def check(
    module: Module,
    entry: str,
    grid: Extent,
    block: Extent,
    params: bytes | Sequence[int | float],
    memory: Memory,
    shared_bytes: int = 0,
    blocks: Iterable[Extent] | None = None,
) -> Report:
    """Runs a kernel's blocks (all of them, or those named) and reports what was found and counted.

    ``memory`` is what it may touch; what it writes counts as written afterwards. Accesses to other memory are left out.
    The other parameters are those of ``launch``.
    """
    run = _Run(module, entry, grid, block, params, memory, shared_bytes)
    # It lives as long as the run, which must not hold it: each would keep the other, and all memory with it.
    flush = _Flush(run.flush_from_native)
    run.context.point("flush", ctypes.c_void_p.from_buffer(flush).value or 0)
    every = ((x, y, z) for z in range(grid[2]) for y in range(grid[1]) for x in range(grid[0]))
    for place in every if blocks is None else blocks:
        run.block(place)
    return run.report()


@cache
def _functions() -> Mapping[str, Any]:
    """The functions that go through a log, compiled."""
    return {
        **jitted(
            watch.report, watch.ordered, watch.arrived, watch.read_shared, watch.write_shared, watch.touch_shared,
            watch.touch_global, watch.release, watch.consume, watch.end_block,
        ),
        **jitted(
            traffic.distinct, traffic.count_global, traffic.count_shared, traffic.step_end, traffic.count_traffic
        ),
    }  # fmt: skip


class _Run:
    """A checked launch: the kernel's context, the log, and what is known so far."""

    def __init__(
        self, module: Module, entry: str, grid: Extent, block: Extent, params: bytes | Sequence[int | float],
        memory: Memory, shared_bytes: int,
    ) -> None:  # fmt: skip
        self.entry, self.grid, self.memory = entry, grid, memory
        self.compiled = module.compiled(entry, checks=True)
        made = self.compiled.translation
        self.context = Context(made, grid, block, bytes_of(module.kernels[entry], params), shared_bytes)
        self.threads = block[0] * block[1] * block[2]
        self.shared_bytes = made.static_shared + shared_bytes
        for name, array in module.globals.items():
            if memory.find(array.ctypes.data) is None or not _holds(memory, array.ctypes.data):
                memory.add(array, name)
        memory.begin_launch()
        self.functions = _functions()
        self.log = np.zeros(CAPACITY, _RECORD)
        self.kinds = np.array([_kind(i) for _, i in made.sites], np.int64)
        self.granule = min([4, *(_width(i) for _, i in made.sites if _may_touch_shared(i))])
        self.counters = np.zeros(max(len(made.counters), 1), np.int64)
        self.tally = np.zeros((len(made.sites), traffic.COLUMNS), np.int64)
        self.found = np.zeros((len(watch.FINDINGS), len(made.sites)), np.int64)
        self.rows = np.zeros((watch.MOST_FINDINGS, watch.FINDING_COLUMNS), np.int64)
        self.scalars = np.zeros(watch.SCALARS, np.int64)
        order = sorted(memory.allocations, key=lambda a: a.address)
        self.extents = np.array([[a.address, a.address + a.size] for a in order], np.int64).reshape(-1, 2)
        self.starts, self.firsts = self.extents[:, 0].copy(), np.array([a.first for a in order], np.int64)
        self.touched, self.writers = np.zeros((CAPACITY, 2), np.int64), watch.writer_state()
        self.ran = self.now = 0
        self.failed: BaseException | None = None
        self._connect()

    def _connect(self) -> None:
        context = self.context
        context.point("log", self.log.ctypes.data)
        context.point("allocations", self.extents.ctypes.data)
        context.point("counts", self.counters.ctypes.data)
        context.set("capacity", CAPACITY)
        context.set("allocated", len(self.extents))

    def block(self, place: Extent) -> None:
        """Runs one block."""
        self.shared = watch.shared_state(self.shared_bytes, self.granule)
        self.state = watch.thread_state()
        self.now = place[0] + self.grid[0] * (place[1] + self.grid[1] * place[2])
        error = self.compiled.native.run(self.context.address, self.now, self.now + 1)
        if self.failed is not None:
            raise self.failed
        self.flush()
        if error in (STUCK_WARP, STUCK_BLOCK):
            self._stuck()
        self.functions["end_block"](self.memory.flags, self.touched, self.scalars)
        self.ran += 1

    def flush_from_native(self) -> None:
        """What a kernel calls when the log is full."""
        # An exception cannot pass through machine code: it is kept, and raised when the block is done.
        try:
            self.flush()
        except BaseException as error:
            self.failed = error
            self.context.set("logged", 0)

    def flush(self) -> None:
        """Goes through the log and empties it."""
        count = self.context.number("logged")
        used = int(self.scalars[watch.TOUCHED])
        if used + count > len(self.touched):
            self.touched = np.concatenate([self.touched, np.zeros((used + count, 2), np.int64)])
        address, site, word = (self.log[name][:count].astype(np.int64) for name in ("address", "site", "word"))
        self.functions["count_traffic"](address, site, word, self.kinds, self.tally)
        self.functions["consume"](
            address, site, word, self.kinds, self.shared, self.state, self.starts, self.firsts, self.memory.flags,
            self.touched, self.writers, self.found, self.rows, self.scalars, self.granule, self.threads, self.now,
        )  # fmt: skip
        self.context.set("logged", 0)

    def _stuck(self) -> None:
        """Some threads wait for ever: named are the first of them and where it waits."""
        for thread, state in enumerate(self.context.state[: self.threads]):
            if state >= 1 << 16:
                syncs = [s for s, (name, i) in enumerate(self._sites()) if name == self.entry and is_sync(i)]
                site = syncs[state & 0xFFFF]
                watch.report(self.found, self.rows, self.scalars, watch.F_STUCK, site, thread, 0, self.now, -1, -1)
                return

    def _sites(self) -> Sequence[tuple[str, Instruction]]:
        return self.compiled.translation.sites

    def report(self) -> Report:
        """What was found and counted."""
        rows = self.rows[: int(self.scalars[watch.KEPT])]
        findings = [self._finding(*(int(v) for v in row)) for row in rows]
        return Report(self.entry, sorted(findings, key=lambda f: (f.line, f.kind)), self._counts())

    def _finding(self, code: int, site: int, thread: int, at: int, block: int, other: int, other_site: int) -> Finding:
        kernel, i = self._sites()[site]
        x, rest = block % self.grid[0], block // self.grid[0]
        text = f"{i.opcode} {self._about(code, i, at, site)}"
        if other >= 0:
            text += f"; the other thread is {other}"
        if other_site >= 0:
            text += f", at PTX line {self._sites()[other_site][1].line}"
        times = int(self.found[code, site])
        place = (x, rest % self.grid[1], rest // self.grid[1])
        return Finding(watch.FINDINGS[code], kernel, i.line, i.source, place, thread, at, times, text)

    def _about(self, code: int, i: Instruction, at: int, site: int) -> str:
        if code in (watch.F_BARRIER, watch.F_EXITED, watch.F_STUCK):
            return {
                watch.F_BARRIER: "is reached while other threads wait elsewhere",
                watch.F_EXITED: "is reached by some threads after others have ended",
                watch.F_STUCK: "waits for threads that do not come",
            }[code]
        if self.tally[site, traffic.SHARED_REQUESTS] and not self.tally[site, traffic.REQUESTS]:
            return f"at byte {at} of {self.shared_bytes} of shared memory"
        near = self.memory.find(at)
        if near is None:
            return f"at {at:#x}"
        offset = at - near.address
        return f"at byte {offset} of '{near.name}', which has {near.size}"

    def _counts(self) -> Counts:
        made = self.compiled.translation
        executed = np.zeros(len(made.sites), np.int64)
        for sites, times in zip(made.counters, self.counters, strict=False):
            executed[sites] += times
        mix: dict[str, int] = {}
        for (_, i), times in zip(made.sites, executed, strict=True):
            if times:
                mix[i.opcode] = mix.get(i.opcode, 0) + int(times)
        fma = sum(int(times) * _multiply_adds(i) for (_, i), times in zip(made.sites, executed, strict=True))
        read, written = (int(self.scalars[n]) for n in (watch.BYTES_READ, watch.BYTES_WRITTEN))
        return Counts(self.ran, self.threads, fma, mix, read, written, self._accesses(made))

    def _accesses(self, made: Translation) -> list[Access]:
        found = []
        for s, (_, i) in enumerate(made.sites):
            row = [int(v) for v in self.tally[s]]
            if row[traffic.REQUESTS]:
                found.append(Access(i.opcode, "global", i.line, i.source, *row[: traffic.SHARED_REQUESTS]))
            if row[traffic.SHARED_REQUESTS]:
                found.append(Access(i.opcode, "shared", i.line, i.source, *row[traffic.SHARED_REQUESTS :]))
        return found


def _holds(memory: Memory, address: int) -> bool:
    near = memory.find(address)
    return near is not None and near.address <= address < near.address + near.size


def _kind(i: Instruction) -> int:
    """The kind of site that an instruction is, 0 if the log never names it."""
    if is_block_barrier(i):
        counted = len(i.operands) > (3 if "red" in i.mods else 1)
        return watch.COUNTED if counted else watch.BARRIER
    if i.root in ("bar", "barrier"):
        return watch.WARP_BARRIER
    if i.root == "cp":
        return next(
            (kind for mod, kind in _GROUPS.items() if mod in i.mods),
            watch.COPY,
        )
    return {
        "ld": watch.LOAD, "ldu": watch.LOAD, "ldmatrix": watch.LOAD, "st": watch.STORE, "atom": watch.ATOMIC,
        "red": watch.ATOMIC,
    }.get(i.root, 0)  # fmt: skip


_GROUPS = {"commit_group": watch.COMMIT, "wait_group": watch.WAIT, "wait_all": watch.WAIT_ALL}


def _may_touch_shared(i: Instruction) -> bool:
    return i.root in ("ld", "st", "atom", "red") and space_of(i) in ("shared", "generic")


def _width(i: Instruction) -> int:
    return WIDTHS[i.types[-1]] // 8


def _multiply_adds(i: Instruction) -> int:
    """Multiply-adds that one thread's execution of an instruction counts for."""
    if i.root == "mma":
        shape = next(m for m in i.mods if m.startswith("m16"))
        rows, rest = shape[1:].split("n")
        columns, depth = rest.split("k")
        return int(rows) * int(columns) * int(depth) // 32
    if i.root in ("fma", "mad") and i.types[-1] == "f32":
        return 1
    return 0
