"""A program's launches as a table of numbers, and the loops that go through it without Python.

The thread that runs a step drives: it publishes a launch, does runs of its units as the others do, and goes on when all
are done. Others serve: who takes a run of the published launch does it. What is published and how many runs of it are
taken is one number, so that nobody does a run of another launch than the one it took.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from alexdsl.ir.kernels import fingerprint, kernel, render
from alexdsl_cpu.dialect import L1, CpuDialect
from alexdsl_cpu.native import COUNTS, FLOATS, call, get, pause, put, take, yield_core

APART = 16
"""Words from one shared number to the next: two cache lines."""
TICKET, DONE, BUSY, FAILED, SERVING = (i * APART for i in range(5))
"""Shared numbers: the launch that is published times TAKEN plus the runs of it that were taken; its runs that are done;
whether somebody drives; the launch that failed plus one; and from the last on, by slot, whether that worker serves."""
TAKEN = 1 << 32
ROW = 8
ADDRESS, WORDS, COUNT, UNITS, GRAIN, RUNS = range(6)
"""A launch's numbers in the table: where its kernel and its arguments are, how many words of them, its units, how many
make a run, and its runs."""
PATIENCE = 4000
"""Pauses without work after which a worker that serves falls asleep: some tenths of a millisecond."""
SPELL = 256
"""Pauses after which a waiting thread lets others have its core."""


@kernel
def launch(state, table, words, job, run, slot, *, ROW, ADDRESS, WORDS, COUNT, UNITS, GRAIN, FAILED):
    """One run of a launch."""
    at = job * ROW
    first, last = run * table[at + GRAIN], min((run + 1) * table[at + GRAIN], table[at + UNITS])
    if call(table[at + ADDRESS], first, last, slot, words, table[at + WORDS], table[at + COUNT]) != 0:
        put(state, FAILED, job + 1)


@kernel
def drive(
    state: L1, table: L1, words: L1, first: int, last: int, threads: int, alone: int, *, ROW, TICKET, DONE, BUSY,
    SERVING, APART, TAKEN, SPELL, RUNS,
):  # fmt: skip
    """Launches ``first`` to ``last`` one after the other; none where workers sleep, unless that does not matter."""
    put(state, BUSY, 1)
    if alone == 0:
        for slot in range(1, threads):
            if get(state, SERVING + slot * APART) == 0:
                return
    for job in range(first, last):
        runs = table[job * ROW + RUNS]
        if runs == 1 or threads == 1:
            for run in range(runs):
                launch(state, table, words, job, run, 0)
        else:
            put(state, DONE, 0)
            put(state, TICKET, job * TAKEN)
            run = take(state, TICKET) % TAKEN
            while run < runs:
                launch(state, table, words, job, run, 0)
                take(state, DONE)
                run = take(state, TICKET) % TAKEN
            waited = 0
            while get(state, DONE) < runs:
                pause()
                waited += 1
                if waited % SPELL == 0:
                    yield_core()
        if get(state, FAILED) != 0:
            break
    put(state, BUSY, 0)


@kernel
def serve(
    state: L1, table: L1, words: L1, slot: int, patience: int, *, ROW, TICKET, DONE, BUSY, SERVING, APART, TAKEN, SPELL,
    RUNS,
):  # fmt: skip
    """Runs of whatever is published, until nobody has driven for so many pauses."""
    mine, idle, waited = SERVING + slot * APART, 0, 0
    put(state, mine, 1)
    while True:
        ticket = get(state, TICKET)
        if ticket % TAKEN < table[ticket // TAKEN * ROW + RUNS]:
            ticket = take(state, TICKET)
            job, run = ticket // TAKEN, ticket % TAKEN
            if run < table[job * ROW + RUNS]:
                launch(state, table, words, job, run, slot)
                take(state, DONE)
            idle = waited = 0
            continue
        pause()
        waited += 1
        if waited % SPELL == 0:
            yield_core()
        idle = 0 if get(state, BUSY) != 0 else idle + 1
        if idle > patience:
            put(state, mine, 0)
            # Who began to drive before that took this worker for awake.
            if get(state, BUSY) == 0:
                break
            put(state, mine, 1)


class LoopDialect(CpuDialect):
    """The kernels' own, with what only these loops call."""

    imports = f"{CpuDialect.imports}\n\nfrom alexdsl_cpu.native import call, get, pause, put, take, yield_core"


_CONSTANTS = {
    "ROW": ROW, "ADDRESS": ADDRESS, "WORDS": WORDS, "COUNT": COUNT, "UNITS": UNITS, "GRAIN": GRAIN, "RUNS": RUNS,
    "TICKET": TICKET, "DONE": DONE, "BUSY": BUSY, "FAILED": FAILED, "SERVING": SERVING, "APART": APART,
    "TAKEN": TAKEN, "SPELL": SPELL,
}  # fmt: skip


def sources() -> dict[str, str]:
    """The loops' sources by the names under which they are compiled: ``drive`` first."""
    found = [(loop.name, render(loop, _CONSTANTS, LoopDialect())) for loop in (drive, serve)]
    return {f"{name}_{fingerprint(source)}": source for name, source in found}


def shared(threads: int) -> Any:
    """The numbers that so many threads share, before anything is published."""
    state = np.zeros(SERVING + threads * APART, np.int64)
    state[TICKET] = TAKEN - TAKEN // 2
    return state


class Table:
    """Launches one after the other, as the loops take them."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._words: list[int] = []
        self._kept: list[Any] = []

    def add(self, function: Any, args: Sequence[Any], units: int, grain: int) -> None:
        """A launch of a compiled kernel. Raises ValueError where it has too many arguments."""
        (compiled,) = function.overloads.values()
        address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        floats = [int(np.float32(arg).view(np.int32)) for arg in args if isinstance(arg, np.float32)]
        others = [word for arg in args if not isinstance(arg, np.float32) for word in _words(arg)]
        count = next((count for count in COUNTS if count >= len(others)), 0)
        if not count or len(floats) > FLOATS:
            raise ValueError(f"a kernel takes at most {FLOATS} floats and {COUNTS[-1]} words, not {len(others)}")
        self._rows += [address, len(self._words), count, units, grain, -(-units // grain), 0, 0]
        self._words += [*floats, *[0] * (FLOATS - len(floats)), *others, *[0] * (count - len(others))]
        self._kept += [function, args]

    def __len__(self) -> int:
        return len(self._rows) // ROW

    @cached_property
    def arrays(self) -> tuple[Any, Any]:
        """The rows and the words, once all launches are there."""
        return np.array(self._rows, np.int64), np.array(self._words, np.int64)


def _words(arg: Any) -> Sequence[int]:
    """An argument as compiled kernels take it: a number, or of an array its owners, size, place, shape and strides."""
    if isinstance(arg, np.ndarray):
        return [0, 0, arg.size, arg.itemsize, arg.ctypes.data, *arg.shape, *arg.strides]
    return [int(arg)]
