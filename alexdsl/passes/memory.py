"""laid-out -> scheduled, last part: gives every buffer its place in its device's arena, by liveness."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, replace

from alexdsl.ir.graph import Graph
from alexdsl.ir.protocol import Registry
from alexdsl.ir.structure import LEAVES
from alexdsl.ir.verify import ALIGN


@dataclass
class Buffer:
    """Storage for one or more values, needed from op ``start`` up to and with op ``end``."""

    device: str
    bytes: int
    start: int
    end: int
    offset: int = -1


def plan_memory(graph: Graph, registry: Registry) -> Graph:
    """The graph with an offset on every result and workspace, and the arenas' sizes in ``graph.attrs["arenas"]``.

    Leaves and outputs live as long as the program. Buffers are placed in a few orders, and the one that needs the least
    memory is kept.
    """
    owner, scratch, buffers = lives(graph, registry)
    last = len(graph.ops)
    arenas = {device: _place([b for b in buffers if b.device == device], last) for device in graph.attrs["devices"]}
    ops = []
    for op in graph:
        at = {"workspace_at": scratch[op.name].offset} if op.name in scratch else {}
        results = tuple(replace(r, offset=owner[r.name].offset) for r in op.results)
        ops.append(replace(op, results=results, attrs={**op.attrs, **at}))
    return graph.with_ops(ops, attrs={**graph.attrs, "arenas": arenas})


def lives(graph: Graph, registry: Registry) -> tuple[dict[str, Buffer], dict[str, Buffer], list[Buffer]]:
    """The storage of every value and every op's workspace, by names, and all of it in the order of the ops."""
    owner: dict[str, Buffer] = {}
    scratch: dict[str, Buffer] = {}
    buffers: list[Buffer] = []
    last = len(graph.ops)
    for i, op in enumerate(graph.ops):
        assert op.device is not None
        shared = registry.replaced(op)
        for name in op.operands:
            owner[name].end = max(owner[name].end, i)
        for j, r in enumerate(op.results):
            if j in shared:
                owner[r.name] = owner[op.operands[shared[j]]]
                continue
            forever = op.kind in LEAVES
            owner[r.name] = Buffer(op.device, graph.type(r.name).bytes, 0 if forever else i, last if forever else i)
            buffers.append(owner[r.name])
        if op.attrs.get("workspace"):
            scratch[op.name] = Buffer(op.device, op.attrs["workspace"], i, i)
            buffers.append(scratch[op.name])
    for name in graph.outputs.values():
        owner[name].end = last
    return owner, scratch, buffers


def _place(buffers: list[Buffer], last: int) -> int:
    """Offsets for buffers of one device; returns the arena's size."""
    base = 0
    passing = []
    for b in buffers:
        if b.start == 0 and b.end == last:
            b.offset, base = base, base + aligned(b.bytes)
        else:
            passing.append(b)
    best: tuple[int, list[int]] | None = None
    for order in _ORDERS:
        ordered = sorted(passing, key=order)
        top = _first_fit(ordered, base)
        if best is None or top < best[0]:
            best = top, [b.offset for b in passing]
    if best is None:
        return base
    for b, offset in zip(passing, best[1], strict=True):
        b.offset = offset
    return best[0]


def _first_fit(buffers: list[Buffer], base: int) -> int:
    """Places buffers one after the other, each at the lowest offset that is free while it lives; the top reached."""
    placed: list[tuple[int, int, int, int]] = []  # offset, offset behind it, start, end; in order
    top = base
    for b in buffers:
        offset, size = base, aligned(b.bytes)
        for low, high, start, end in placed:
            if start > b.end or end < b.start:
                continue
            if offset + size <= low:
                break
            if high > offset:  # not max(), which nets of hundreds of layers would call millions of times
                offset = high
        b.offset = offset
        insort(placed, (offset, offset + size, b.start, b.end))
        top = max(top, offset + size)
    return top


_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.bytes,),
    lambda b: (-b.bytes * (b.end - b.start + 1),),
    lambda b: (b.start - b.end, -b.bytes),
    lambda b: (b.start, -b.bytes),
)
"""Orders in which buffers are placed: by size, by size and life together, by life, by beginning."""


def aligned(size: int) -> int:
    """The bytes that a buffer of ``size`` takes of an arena."""
    return -(-max(size, 1) // ALIGN) * ALIGN
