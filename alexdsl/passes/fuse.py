"""placed -> fused: runs of ops become one op where the backend offers a kernel that computes the whole run."""

from __future__ import annotations

from alexdsl.ir.backend import Backend
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry
from alexdsl.ir.semantics import fuse_ops
from alexdsl.ir.structure import LEAVES


def fuse(graph: Graph, registry: Registry, backend: Backend) -> Graph:
    """The graph with chains fused: each member's operand ``flow`` is the first result of the member before.

    A result that others read too stays a result of the fused op, if all of them come after its last member and the
    backend can store it on the way; the chain ends there. Results beside those that flow stay. What flows is never
    overwritten. A fused op stands where its last member stood: solvers move behind the readers of what they
    overwrite, and behind what makes their gradients.
    """
    position = {op.name: i for i, op in enumerate(graph.ops)}
    taken: set[str] = set()
    fused: dict[str, Op] = {}
    for op in graph:
        if op.name in taken or op.kind in (*LEAVES, "copy") or 0 in registry[op.kind].inplace:
            continue
        chain, keep = [op], set[str]()
        while not keep and (found := _next(graph, chain, position, registry)) and found[0].name not in taken:
            member, stays = found
            if registry[member.kind].flow in registry.replaced(member).values():
                break
            kinds = [registry[o.kind] for o in (*chain, member)]
            if not backend.fuses(kinds, stays):
                break
            keep |= {chain[-1].results[0].name} if stays else set()
            chain.append(member)
        if len(chain) > 1:
            taken |= {o.name for o in chain}
            keep |= {r.name for o in chain for r in o.results[1:]}
            fused[chain[-1].name] = fuse_ops(chain, keep, registry)
    ops = [fused.get(op.name, op) for op in graph if op.name in fused or op.name not in taken]
    return graph.with_ops(_updates_last(ops, registry), stage="fused")


def _updates_last(ops: list[Op], registry: Registry) -> list[Op]:
    """Solver ops moved behind the last reader of the weights that they overwrite, and behind what makes their
    gradients, which may be a solver op fused to it."""
    readers = {name: i for i, op in enumerate(ops) for name in op.operands if not _updates(op, registry)}
    places = {op.name: i for i, op in enumerate(ops)}
    fused = [op for op in ops if _updates(op, registry) and "+" in op.kind]
    alone = [op for op in ops if _updates(op, registry) and "+" not in op.kind]
    made = {result.name: places[op.name] for op in ops for result in op.results}
    for op in (*fused, *alone):
        last = max(max(readers.get(name, 0), made[name]) for name in op.operands)
        places[op.name] = max(places[op.name], last)
        made |= {result.name: places[op.name] for result in op.results}
    others = [op for op in ops if not _updates(op, registry)]
    return sorted([*others, *fused, *alone], key=lambda op: places[op.name])


def _updates(op: Op, registry: Registry) -> bool:
    return op.kind.rpartition("+")[2] in registry.solvers


def _next(graph: Graph, chain: list[Op], position: dict[str, int], registry: Registry) -> tuple[Op, bool] | None:
    """The op that could join the chain, and whether the value between has to be stored for others."""
    last = chain[-1]
    value = last.results[0].name
    users = [
        op
        for op in graph.users[value]
        if op.operands.count(value) == 1 and op.operands.index(value) == registry[op.kind].flow
    ]
    first = min(users, key=lambda op: position[op.name], default=None)
    if first is None or first.device != last.device:
        return None
    at = position[first.name]
    inside = {r.name for o in chain for r in o.results}
    if inside & set(first.operands) != {value}:
        return None
    # Solvers move behind what they read: see below.
    others = [op for name in inside for op in graph.users[name] if not _updates(op, registry)]
    readers = {op.name for op in others} - {o.name for o in (*chain, first)}
    if any(position[name] < at for name in readers):
        return None
    stays = len(graph.users[value]) > 1 or value in graph.outputs.values()
    return first, stays
