"""laid-out -> scheduled, second half: gives every buffer its place in its device's arena, by liveness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry
from alexdsl.ir.structure import LEAVES
from alexdsl.ir.verify import ALIGN


@dataclass
class _Buffer:
    """Storage for one or more values, needed from op ``start`` up to and with op ``end``."""

    device: str
    bytes: int
    start: int
    end: int
    offset: int = -1


def plan_memory(graph: Graph, registry: Registry) -> Graph:
    """The graph with an offset on every result and workspace, and the arenas' sizes in ``graph.attrs["arenas"]``.

    Leaves and outputs live as long as the program. Buffers are placed largest first, each at the lowest offset that is
    free throughout its life.
    """
    owner: dict[str, _Buffer] = {}
    scratch: dict[str, _Buffer] = {}
    buffers: list[_Buffer] = []
    last = len(graph.ops)
    for i, op in enumerate(graph.ops):
        assert op.device is not None
        shared = _shared(op, registry)
        for name in op.operands:
            owner[name].end = max(owner[name].end, i)
        for j, r in enumerate(op.results):
            if j in shared:
                owner[r.name] = owner[op.operands[shared[j]]]
                continue
            forever = op.kind in LEAVES
            owner[r.name] = _Buffer(op.device, graph.type(r.name).bytes, 0 if forever else i, last if forever else i)
            buffers.append(owner[r.name])
        if op.attrs.get("workspace"):
            scratch[op.name] = _Buffer(op.device, op.attrs["workspace"], i, i)
            buffers.append(scratch[op.name])
    for name in graph.outputs.values():
        owner[name].end = last
    arenas = {device: _place([b for b in buffers if b.device == device], last) for device in graph.attrs["devices"]}
    ops = []
    for op in graph:
        at = {"workspace_at": scratch[op.name].offset} if op.name in scratch else {}
        results = tuple(replace(r, offset=owner[r.name].offset) for r in op.results)
        ops.append(replace(op, results=results, attrs={**op.attrs, **at}))
    return graph.with_ops(ops, attrs={**graph.attrs, "arenas": arenas})


def _shared(op: Op, registry: Registry) -> Mapping[int, int]:
    return {} if "+" in op.kind else registry[op.kind].inplace


def _place(buffers: list[_Buffer], last: int) -> int:
    """Offsets for buffers of one device; returns the arena's size."""
    forever = [b for b in buffers if b.start == 0 and b.end == last]
    size = 0
    for b in forever:
        b.offset, size = size, size + _aligned(b.bytes)
    placed: list[_Buffer] = []
    base = top = size
    for b in sorted((b for b in buffers if b.offset < 0), key=lambda b: -b.bytes):
        offset = base
        for other in sorted((o for o in placed if o.start <= b.end and b.start <= o.end), key=lambda o: o.offset):
            if offset + _aligned(b.bytes) <= other.offset:
                break
            offset = max(offset, other.offset + _aligned(other.bytes))
        b.offset = offset
        placed.append(b)
        top = max(top, offset + _aligned(b.bytes))
    return top


def _aligned(size: int) -> int:
    return -(-max(size, 1) // ALIGN) * ALIGN
