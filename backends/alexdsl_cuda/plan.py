"""The order of a step on streams: what each stream does, and where one has to wait for another.

Every logical device has a stream for its kernels, and every pair of devices one for the copies from the first to the
second, so that copies go on beside kernels. A stream waits only for work that touches the same bytes: what it reads
must have been written, what it overwrites must have been read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.structure import LEAVES


@dataclass(frozen=True)
class Run:
    """A kernel's launch on a stream."""

    stream: str
    op: Op
    launch: Launch


@dataclass(frozen=True)
class Copy:
    """Bytes from a place in one device's arena to a place in another's."""

    stream: str
    op: Op
    source: tuple[str, int]
    target: tuple[str, int]
    size: int


@dataclass(frozen=True)
class Signal:
    """The event of that number is set when the stream's work up to here is done."""

    stream: str
    event: int


@dataclass(frozen=True)
class Wait:
    """The stream goes on when the event of that number is set."""

    stream: str
    event: int


Action: TypeAlias = Run | Copy | Signal | Wait
Bytes: TypeAlias = tuple[str, int, int]
"""A device, and the first byte and the one after the last in its arena."""


@dataclass
class _Work:
    """An op on its stream: what it reads and writes, and how much of every stream is done before it."""

    stream: str
    place: int
    reads: Sequence[Bytes]
    writes: Sequence[Bytes]
    done: Mapping[str, int]


def plan(program: Graph) -> tuple[Action, ...]:
    """The actions of one step, to be handed to the streams in this order.

    At the end the first device's stream has waited for all others, and at the beginning the others wait for it, so that
    one step follows the other.
    """
    home = program.attrs["devices"][0]
    works: list[tuple[Op, _Work]] = []
    lengths: dict[str, int] = {home: 0}
    for op in program:
        if op.kind in LEAVES:
            continue
        stream = f"{op.attrs['source']}>{op.device}" if op.kind == "copy" else str(op.device)
        reads, writes = _bytes(program, op)
        done = _before([work for _, work in works], stream, reads, writes)
        works.append((op, _Work(stream, lengths.setdefault(stream, 0), reads, writes, done)))
        lengths[stream] += 1
    return tuple(_actions(works, lengths, home))


def _bytes(program: Graph, op: Op) -> tuple[list[Bytes], list[Bytes]]:
    """What an op reads and writes; scratch memory counts as written."""
    reads = [_of(program, name) for name in op.operands]
    writes = [_of(program, r.name) for r in op.results]
    if op.attrs.get("workspace"):
        start = op.attrs["workspace_at"]
        writes.append((str(op.device), start, start + op.attrs["workspace"]))
    return reads, writes


def _of(program: Graph, name: str) -> Bytes:
    offset = program.results[name].offset
    assert offset is not None
    return str(program.producers[name].device), offset, offset + program.type(name).bytes


def _before(works: Sequence[_Work], stream: str, reads: Sequence[Bytes], writes: Sequence[Bytes]) -> dict[str, int]:
    """For every other stream, how many of its works must be done first; what those waited for is done as well."""
    mine = next((work for work in reversed(works) if work.stream == stream), None)
    done = dict(mine.done) if mine else {}
    for work in reversed(works):
        if work.stream == stream or work.place < done.get(work.stream, 0):
            continue
        if _meet(work.writes, reads) or _meet(work.writes, writes) or _meet(work.reads, writes):
            for other, count in (*work.done.items(), (work.stream, work.place + 1)):
                if other != stream:
                    done[other] = max(done.get(other, 0), count)
    return done


def _meet(some: Sequence[Bytes], others: Sequence[Bytes]) -> bool:
    return any(a == b and start < end and first < last for a, start, last in some for b, first, end in others)


def _actions(works: Sequence[tuple[Op, _Work]], lengths: Mapping[str, int], home: str) -> Iterator[Action]:
    """The works in order with the waits before them, and a signal after each that is waited for."""
    known: dict[str, Mapping[str, int]] = {}
    at = {(work.stream, work.place + 1): work for _, work in works}
    waits: list[list[tuple[str, int]]] = []
    for _, work in works:
        before = known.get(work.stream, {})
        new = {(s, n) for s, n in work.done.items() if n > before.get(s, 0)}
        # What one awaited work has itself waited for needs no wait of its own.
        implied = {(s, n) for s, n in new for t, m in new if t != s and at[t, m].done.get(s, 0) >= n}
        waits.append(sorted(new - implied))
        known[work.stream] = work.done
    final = [(stream, length) for stream, length in lengths.items() if stream != home and length]
    awaited = {pair for pairs in waits for pair in pairs} | set(final)
    events = {pair: number + 1 for number, pair in enumerate(sorted(awaited))}
    yield Signal(home, 0)
    for stream in lengths:
        if stream != home:
            yield Wait(stream, 0)
    for (op, work), pairs in zip(works, waits, strict=True):
        for pair in pairs:
            yield Wait(work.stream, events[pair])
        yield from _work(op, work)
        if (work.stream, work.place + 1) in events:
            yield Signal(work.stream, events[work.stream, work.place + 1])
    for pair in final:
        yield Wait(home, events[pair])


def _work(op: Op, work: _Work) -> Iterator[Action]:
    if op.kind == "copy":
        (source, first, last), (target, start, _) = work.reads[0], work.writes[0]
        yield Copy(work.stream, op, (source, first), (target, start), last - first)
        return
    for launch in op.launches:
        yield Run(work.stream, op, launch)
