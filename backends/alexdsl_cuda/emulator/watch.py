"""What the log of a checked run shows: accesses to nothing, to unwritten memory, races, copies used too early.

Plain functions that Numba compiles when a check first runs; threads' records come thread after thread. Two accesses are
ordered if a block's barrier lies between them or, in one warp, a warp's; what else a warp may do in step counts for
nothing. Barriers with a count of threads order the whole block here, and warps' barriers the whole warp.

All state is in tables of integers: a row is a granule of shared memory, a thread, or a place in global memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alexdsl_cuda.emulator.memory import (
    ADDED_TO,
    READ_BEFORE,
    READ_HERE,
    WRITTEN,
    WRITTEN_BEFORE,
    WRITTEN_HERE,
)  # fmt: skip
from alexdsl_cuda.emulator.watch_ir import MISALIGNED, OUTSIDE, SHARED

LOAD, STORE, ATOMIC, COPY, BARRIER, COUNTED, WARP_BARRIER, COMMIT, WAIT, WAIT_ALL = range(1, 11)
"""Kinds of sites."""
FINDINGS = (
    "outside", "misaligned", "unwritten", "write-write race", "read-write race", "copy not waited for",
    "divergent barrier", "barrier without exited threads", "race between blocks", "stuck",
)  # fmt: skip
"""What a finding may be, by its number."""
F_OUTSIDE, F_MISALIGNED, F_UNWRITTEN, F_WRITES, F_READ, F_COPY, F_BARRIER, F_EXITED, F_BLOCKS, F_STUCK = range(10)
NOBODY, MANY = -1, -2
"""In place of a thread, a warp or a site."""
MOST_FINDINGS = 1000
SLOTS = 1 << 20
"""Places in global memory whose last writer in a block is remembered."""
FINDING_COLUMNS = 7

# Columns of the table of shared memory: who wrote and read a granule last, and which copy into it is on its way.
FILLED, W_TIME, WRITER, W_SITE, W_STEP, W_ATOMIC, R_TIME, READER, R_WARP, R_SITE, R_STEP, COPIER, GROUP = range(13)
# Columns of the table of threads: warp barriers since the block's, copy groups, and the barrier at which each waits.
STEP, COMMITTED, DONE, DONE_AT_STEP, DONE_AT_BARRIER, ARRIVED = range(6)
# Columns of the table of writers in global memory.
PLACE, G_TIME, G_WRITER, G_STEP, G_SITE = range(5)
# The scalars: the interval between barriers, counted over all blocks; places the block touched; findings kept; and the
# different bytes of global memory that blocks read and wrote. Memory that no block touches is never looked at.
NOW, TOUCHED, KEPT, BYTES_READ, BYTES_WRITTEN = range(5)
SCALARS = 5


def shared_state(size: int, granule: int) -> Any:
    """The table of so many bytes of shared memory, none of them written."""
    table = np.zeros((size // granule + 1, 13), np.int64)
    table[:, [W_TIME, R_TIME, COPIER]] = NOBODY
    return table


def thread_state() -> Any:
    """The table of a block's threads before it starts."""
    table = np.zeros((1024, 6), np.int64)
    table[:, ARRIVED] = NOBODY
    return table


def writer_state() -> Any:
    """The table of writers of global memory, with none."""
    table = np.zeros((SLOTS, 5), np.int64)
    table[:, PLACE] = NOBODY
    return table


def report(
    seen: Any, rows: Any, scalars: Any, code: int, site: int, t: int, at: int, block: int, other: int, by: int
) -> None:
    """Counts a finding, and keeps the first of its kind at its site; ``other`` is a thread, ``by`` its site."""
    seen[code, site] += 1
    if seen[code, site] == 1 and scalars[KEPT] < len(rows):
        row = rows[scalars[KEPT]]
        scalars[KEPT] += 1
        row[0], row[1], row[2], row[3], row[4], row[5], row[6] = code, site, t, at, block, other, by


def ordered(t: int, other: int, step: int, other_step: int) -> bool:
    """Whether two accesses in one interval of the block are ordered: by one thread, or across a warp's barrier."""
    return t == other or (t >> 5 == other >> 5 and step != other_step)


def arrived(g: Any, threads: Any, t: int) -> bool:
    """Whether a thread may use the granule into which a copy was started."""
    copier, group = g[COPIER], g[GROUP]
    if copier == t:
        return bool(group < threads[t, DONE])
    near = copier >> 5 == t >> 5 and threads[t, STEP] == threads[copier, STEP]
    return bool(group < threads[copier, DONE_AT_BARRIER] or (near and group < threads[copier, DONE_AT_STEP]))


def read_shared(g: Any, threads: Any, t: int, site: int, now: int, atomic: bool) -> int:
    """A read of one granule; the finding, or -1."""
    found = -1
    warp, step = t >> 5, threads[t, STEP]
    if g[FILLED] == 0:
        found = F_UNWRITTEN
        g[FILLED] = 1
    elif g[COPIER] >= 0:
        if not arrived(g, threads, t):
            found = F_COPY
    elif g[W_TIME] == now and not (atomic and g[W_ATOMIC]) and not ordered(t, g[WRITER], step, g[W_STEP]):
        found = F_READ
    if atomic:
        return found
    if g[R_TIME] != now:
        g[R_TIME], g[R_WARP], g[READER], g[R_STEP], g[R_SITE] = now, warp, t, step, site
    elif g[R_WARP] != warp:
        g[R_WARP] = MANY
    elif g[R_STEP] != step:
        g[READER], g[R_STEP], g[R_SITE] = t, step, site
    elif g[READER] != t:
        g[READER] = MANY
    return found


def write_shared(g: Any, threads: Any, t: int, site: int, now: int, atomic: bool) -> int:
    """A write to one granule, by an atomic among others; the finding, or -1."""
    found = -1
    warp, step = t >> 5, threads[t, STEP]
    if g[COPIER] >= 0:
        if not arrived(g, threads, t):
            found = F_COPY
    elif g[W_TIME] == now and not (atomic and g[W_ATOMIC]) and not ordered(t, g[WRITER], step, g[W_STEP]):
        found = F_WRITES
    if found < 0 and g[R_TIME] == now and (g[R_WARP] != warp or (g[R_STEP] == step and g[READER] != t)):
        found = F_READ
    return found


def touch_shared(
    table: Any, threads: Any, seen: Any, rows: Any, scalars: Any, kind: int, site: int, t: int, at: int, size: int,
    granule: int, block: int,
) -> None:  # fmt: skip
    """An access to shared memory, granule by granule."""
    now, atomic = scalars[NOW], kind == ATOMIC
    for k in range(at // granule, (at + size - 1) // granule + 1):
        g = table[k]
        found = -1
        other, by = g[WRITER], g[W_SITE]
        if kind == LOAD or atomic:
            found = read_shared(g, threads, t, site, now, atomic)
            if found == F_UNWRITTEN:
                other = by = NOBODY
        if kind != LOAD and found < 0:
            found = write_shared(g, threads, t, site, now, atomic)
            if found == F_READ:
                other, by = g[READER], g[R_SITE]
        if found >= 0:
            report(seen, rows, scalars, found, site, t, at, block, other, by)
        if kind != LOAD:
            several = atomic and g[W_TIME] == now and g[W_ATOMIC] == 1 and g[WRITER] != t
            g[FILLED], g[W_TIME], g[W_SITE], g[W_STEP] = 1, now, site, threads[t, STEP]
            g[WRITER] = MANY if several else t
            g[W_ATOMIC] = 1 if atomic else 0
            g[COPIER] = t if kind == COPY else NOBODY
            g[GROUP] = threads[t, COMMITTED]


def touch_global(
    starts: Any, firsts: Any, flags: Any, touched: Any, writers: Any, threads: Any, seen: Any, rows: Any, scalars: Any,
    kind: int, site: int, t: int, at: int, size: int, block: int,
) -> None:  # fmt: skip
    """An access to global memory: unwritten bytes, what other blocks of the launch did there, what this one did."""
    k = np.searchsorted(starts, at, side="right") - 1
    first = firsts[k] + at - starts[k]
    reads, writes, atomic = kind != STORE, kind != LOAD, kind == ATOMIC
    before = int(flags[first])
    fresh = clash = False
    for b in range(first, first + size):
        f = int(flags[b])
        if reads and f & WRITTEN == 0:
            fresh = True
        if f & WRITTEN_BEFORE and not (atomic and f & ADDED_TO):
            clash = True
        if writes and f & READ_BEFORE:
            clash = True
        if writes:
            f = (f | WRITTEN | WRITTEN_HERE | ADDED_TO) if atomic else (f | WRITTEN | WRITTEN_HERE) & (255 - ADDED_TO)
        else:
            f |= READ_HERE
        flags[b] = f
    if fresh:
        report(seen, rows, scalars, F_UNWRITTEN, site, t, at, block, NOBODY, NOBODY)
    if clash:
        report(seen, rows, scalars, F_BLOCKS, site, t, at, block, NOBODY, NOBODY)
    if int(flags[first]) != before:
        touched[scalars[TOUCHED], 0], touched[scalars[TOUCHED], 1] = first, size
        scalars[TOUCHED] += 1
    w = writers[((first * 40503) >> 4) & (SLOTS - 1)]
    recent = before & WRITTEN_HERE and w[PLACE] == first and w[G_TIME] == scalars[NOW]
    if recent and not atomic and not ordered(t, w[G_WRITER], threads[t, STEP], w[G_STEP]):
        found = F_WRITES if writes else F_READ
        report(seen, rows, scalars, found, site, t, at, block, w[G_WRITER], w[G_SITE])
    if kind == STORE:
        w[PLACE], w[G_TIME], w[G_WRITER], w[G_STEP], w[G_SITE] = first, scalars[NOW], t, threads[t, STEP], site


def release(threads: Any, seen: Any, rows: Any, scalars: Any, kinds: Any, count: int, block: int) -> None:
    """A block's barrier lets its threads go: a new interval begins. All should have come, to the same place."""
    place = first = other = missing = -1
    for t in range(count):
        here = threads[t, ARRIVED]
        if here < 0:
            missing = t
        elif place < 0:
            place, first = here, t
        elif here != place:
            other = t
    if place >= 0 and kinds[place] == BARRIER:
        if other >= 0:
            report(seen, rows, scalars, F_BARRIER, threads[other, ARRIVED], other, 0, block, first, place)
        elif missing >= 0:
            report(seen, rows, scalars, F_EXITED, place, first, 0, block, missing, NOBODY)
    scalars[NOW] += 1
    for t in range(count):
        threads[t, ARRIVED] = NOBODY
        threads[t, STEP] = 0
        threads[t, DONE_AT_BARRIER] = threads[t, DONE_AT_STEP] = threads[t, DONE]


def consume(
    address: Any, site: Any, word: Any, kinds: Any, table: Any, threads: Any, starts: Any, firsts: Any, flags: Any,
    touched: Any, writers: Any, seen: Any, rows: Any, scalars: Any, granule: int, count: int, block: int,
) -> None:  # fmt: skip
    """Goes through a log's records in order; ``count`` are the threads of a block."""
    for r in range(len(site)):
        s = site[r]
        if s < 0:
            release(threads, seen, rows, scalars, kinds, count, block)
            continue
        kind, w, at = kinds[s], word[r], address[r]
        t, size = w & 0xFFFF, w >> 16 & 255
        if kind in (BARRIER, COUNTED):
            threads[t, ARRIVED] = s
        elif kind == WARP_BARRIER:
            threads[t, STEP] += 1
            threads[t, DONE_AT_STEP] = threads[t, DONE]
        elif kind == COMMIT:
            threads[t, COMMITTED] += 1
        elif kind == WAIT:
            threads[t, DONE] = max(threads[t, DONE], threads[t, COMMITTED] - at)
        elif kind == WAIT_ALL:
            threads[t, COMMITTED] += 1
            threads[t, DONE] = threads[t, COMMITTED]
        elif size:
            if w & MISALIGNED:
                report(seen, rows, scalars, F_MISALIGNED, s, t, at, block, NOBODY, NOBODY)
            if w & OUTSIDE:
                report(seen, rows, scalars, F_OUTSIDE, s, t, at, block, NOBODY, NOBODY)
            elif w & SHARED:
                touch_shared(table, threads, seen, rows, scalars, kind, s, t, at, size, granule, block)
            else:
                kind = LOAD if kind == COPY else kind
                touch_global(
                    starts, firsts, flags, touched, writers, threads, seen, rows, scalars, kind, s, t, at, size, block
                )


def end_block(flags: Any, touched: Any, scalars: Any) -> None:
    """What the block did becomes what an earlier block did."""
    for k in range(scalars[TOUCHED]):
        for b in range(touched[k, 0], touched[k, 0] + touched[k, 1]):
            f = int(flags[b])
            if f & READ_HERE:
                scalars[BYTES_READ] += f & READ_BEFORE == 0
                f = (f | READ_BEFORE) & (255 - READ_HERE)
            if f & WRITTEN_HERE:
                scalars[BYTES_WRITTEN] += f & WRITTEN_BEFORE == 0
                f = (f | WRITTEN_BEFORE) & (255 - WRITTEN_HERE)
            flags[b] = f
    scalars[TOUCHED] = 0
    scalars[NOW] += 1
