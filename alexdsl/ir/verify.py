"""The verifier: a graph is well formed, its types follow from its ops, and every op is legal at its stage."""

from __future__ import annotations

from alexdsl.ir.graph import Graph
from alexdsl.ir.protocol import STAGES, Registry
from alexdsl.ir.semantics import Semantics
from alexdsl.ir.structure import LEAVES


class InvalidGraph(ValueError):
    """A graph breaks a law of the IR: a fault of the compiler, not of the spec."""


def verify(graph: Graph, registry: Registry) -> None:
    """Raises InvalidGraph naming the op and the law it breaks."""
    semantics = Semantics(registry)
    stage = STAGES.index(graph.stage)
    defined: set[str] = set()
    for op in graph:
        where = f"%{op.name} = {op.kind} at stage '{graph.stage}'"
        for name in op.operands:
            if name not in defined:
                raise InvalidGraph(f"{where}: %{name} is used before it is defined")
        for result in op.results:
            if result.name in defined:
                raise InvalidGraph(f"{where}: %{result.name} is defined twice")
            defined.add(result.name)
        for name in op.kind.split("+"):
            kind = registry.ops.get(name)
            if kind is None:
                raise InvalidGraph(f"{where}: there is no op kind '{name}'")
            last = STAGES.index("program") if graph.stage == "program" else STAGES.index(kind.last_stage)
            if not STAGES.index(kind.first_stage) <= stage <= last:
                raise InvalidGraph(f"{where}: '{name}' is legal from '{kind.first_stage}' to '{kind.last_stage}'")
        if "+" in op.kind and stage < STAGES.index("fused"):
            raise InvalidGraph(f"{where}: fused ops come with stage 'fused'")
        if op.kind not in LEAVES and op.attrs.get("towers", 1) != 1 and stage >= STAGES.index("placed"):
            raise InvalidGraph(f"{where}: towers are cut before stage 'placed'")
        if (op.device is None) != (stage < STAGES.index("placed")):
            raise InvalidGraph(f"{where}: ops have a device from stage 'placed' on, and not before")
        if graph.stage == "parsed" or op.kind in LEAVES:
            continue
        inferred = semantics.infer(op.kind, graph.types(op.operands), op.attrs)
        found = [graph.type(r.name) for r in op.results]
        if [(t.dtype, t.shape) for t in inferred] != [(t.dtype, t.shape) for t in found]:
            raise InvalidGraph(f"{where}: its type is {found}, by its rule {list(inferred)}")
    for label, name in graph.outputs.items():
        if name not in defined:
            raise InvalidGraph(f"output '{label}': %{name} is not defined")
