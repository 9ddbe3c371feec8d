"""laid-out -> scheduled, second part: updates of small parameters become few ops, which are few launches."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import accumulate

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry, SolverKind
from alexdsl.ir.text import print_attr
from alexdsl.passes.memory import aligned, lives, plan_memory

SMALL = 2**16
"""Elements from which on an update is worth a launch of its own."""
FULL = (1.0, 0.97, 0.9, 0.8)
"""Parts of what lives on a device at most, up to which gradients that wait may fill it. The first that leaves no gaps
when buffers are given their places is taken."""
AT_ONCE = 16
"""Parameters that one op updates at most: what keeps its line readable, and within the 4 KB of arguments that a launch
on CUDA may have."""


def gather_updates(graph: Graph, registry: Registry) -> Graph:
    """The graph with one update for up to AT_ONCE small parameters that lie on one device and have the same rates.

    It stands where the last of theirs stood, until when the gradients of the others wait. No device needs more memory
    than it did.
    """
    apart = plan_memory(graph, registry).attrs["arenas"]
    for full in FULL:
        found = _gathered(graph, registry, full)
        arenas = plan_memory(found, registry).attrs["arenas"]
        if all(arenas[device] <= size for device, size in apart.items()):
            return found
    return graph


def _gathered(graph: Graph, registry: Registry, full: float) -> Graph:
    """The graph with small updates gathered where that part of what lives on their device at most is not exceeded."""
    memory = {device: _Memory.of(graph, registry, device, full) for device in graph.attrs["devices"]}
    groups: list[_Group] = []
    newest: dict[Hashable, _Group] = {}
    for place, op in enumerate(graph.ops):
        if op.kind not in registry.solvers or graph.type(op.name).elements >= SMALL:
            continue
        assert op.device is not None
        solver = registry.solvers[op.kind]
        ((_, *_, grad),), scalars = solver.split(op.operands)
        key = op.kind, op.device, tuple(scalars), print_attr(dict(op.attrs))
        group = newest.get(key)
        if group is None or len(group.updates) == AT_ONCE or not memory[op.device].takes(group, place):
            group = newest[key] = _Group(solver, [], 0, place)
            groups.append(group)
        group.updates.append(op)
        group.bytes += aligned(graph.type(grad).bytes)
        group.place = place
    gathered = {group.place: group.op for group in groups}
    gone = {update.name for group in groups for update in group.updates}
    ops = [gathered.get(place, op) for place, op in enumerate(graph.ops) if place in gathered or op.name not in gone]
    return graph.with_ops(ops)


@dataclass
class _Group:
    """Updates to be done together where the last stands, and the bytes of their gradients, which live until there."""

    solver: SolverKind
    updates: list[Op]
    bytes: int
    place: int

    @property
    def op(self) -> Op:
        """All of them as one, which is of no layer."""
        first, *others = self.updates
        if not others:
            return first
        arrays = [name for op in self.updates for own in self.solver.split(op.operands)[0] for name in own]
        results = [result for op in self.updates for result in op.results]
        scalars = self.solver.split(first.operands)[1]
        return Op(first.kind, (*arrays, *scalars), tuple(results), first.attrs, first.device)


@dataclass
class _Memory:
    """The bytes of a device that live at each op, and what they may be at most."""

    live: list[int]
    most: float

    @classmethod
    def of(cls, graph: Graph, registry: Registry, device: str, full: float) -> _Memory:
        changes = [0] * (len(graph.ops) + 2)
        for buffer in lives(graph, registry)[2]:
            if buffer.device == device:
                changes[buffer.start] += aligned(buffer.bytes)
                changes[buffer.end + 1] -= aligned(buffer.bytes)
        live = list(accumulate(changes))
        return cls(live, full * max(live))

    def takes(self, group: _Group, place: int) -> bool:
        """Whether there is memory for the group's gradients up to ``place``, which then is theirs."""
        longer = range(group.place + 1, place + 1)
        if any(self.live[i] + group.bytes > self.most for i in longer):
            return False
        for i in longer:
            self.live[i] += group.bytes
        return True
