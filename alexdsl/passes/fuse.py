"""placed -> fused: runs of ops become one op where the backend offers a kernel that computes the whole run."""

from __future__ import annotations

from alexdsl.ir.backend import Backend
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry
from alexdsl.ir.semantics import fuse_ops
from alexdsl.ir.structure import LEAVES


def fuse(graph: Graph, registry: Registry, backend: Backend) -> Graph:
    """The graph with chains fused: each member's first operand is the first result of the member before.

    A result that others read too stays a result of the fused op, if all of them come after its last member and the
    backend can store it on the way; the chain ends there. Results beside those that flow stay. Of ops that act in
    place only a chain's first may be one, and not on what flows. Solvers move behind the readers of what they
    overwrite: a fused op stands where its last member stood.
    """
    position = {op.name: i for i, op in enumerate(graph.ops)}
    taken: set[str] = set()
    fused: dict[str, Op] = {}
    for op in graph:
        if op.name in taken or op.kind in (*LEAVES, "copy") or 0 in registry[op.kind].inplace:
            continue
        chain, keep = [op], set[str]()
        while not keep and (found := _next(graph, chain, position)) and found[0].name not in taken:
            member, stays = found
            if registry[member.kind].inplace:
                break
            kinds = [registry[o.kind] for o in (*chain, member)]
            if not backend.fuses(kinds, stays):
                break
            keep |= {chain[-1].results[0].name} if stays else set()
            chain.append(member)
        if len(chain) > 1:
            taken |= {o.name for o in chain}
            keep |= {r.name for o in chain for r in o.results[1:]}
            fused[chain[-1].name] = fuse_ops(chain, keep)
    ops = [fused.get(op.name, op) for op in graph if op.name in fused or op.name not in taken]
    return graph.with_ops(_updates_last(ops, registry), stage="fused")


def _updates_last(ops: list[Op], registry: Registry) -> list[Op]:
    """Solver ops moved behind the last reader of the weights that they overwrite."""
    readers = {name: i for i, op in enumerate(ops) for name in op.operands if not _updates(op, registry)}
    after: dict[int, list[Op]] = {}
    for i, op in enumerate(ops):
        last = max((readers.get(name, 0) for name in op.operands), default=0) if _updates(op, registry) else 0
        after.setdefault(max(i, last), []).append(op)
    return [op for i in range(len(ops)) for op in sorted(after.get(i, ()), key=lambda op: _updates(op, registry))]


def _updates(op: Op, registry: Registry) -> bool:
    return op.kind in registry.solvers


def _next(graph: Graph, chain: list[Op], position: dict[str, int]) -> tuple[Op, bool] | None:
    """The op that could join the chain, and whether the value between has to be stored for others."""
    last = chain[-1]
    value = last.results[0].name
    users = [op for op in graph.users[value] if op.operands[0] == value and value not in op.operands[1:]]
    first = min(users, key=lambda op: position[op.name], default=None)
    if first is None or first.device != last.device:
        return None
    at = position[first.name]
    inside = {r.name for o in chain for r in o.results}
    if inside & set(first.operands[1:]):
        return None
    readers = {op.name for name in inside for op in graph.users[name]} - {o.name for o in (*chain, first)}
    if any(position[name] < at for name in readers):
        return None
    stays = len(graph.users[value]) > 1 or value in graph.outputs.values()
    return first, stays
