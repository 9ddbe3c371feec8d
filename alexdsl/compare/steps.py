"""A net as steps that can be compared: layers with their meaning, and which step of one net is which of the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import LayerKind
from alexdsl.spec import Spec


@dataclass(frozen=True)
class Step:
    """A layer: its op in the shaped graph, the steps (or inputs) that flow into it by name, its weights by role, and
    what it computes in words. ``label`` is what the spec's tables call it."""

    op: Op
    kind: LayerKind
    label: str
    sources: tuple[str, ...]
    weights: Mapping[str, Op]
    meaning: Mapping[str, str]
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int

    @property
    def name(self) -> str:
        return self.op.layer

    @property
    def statement(self) -> str:
        """The chain that the step belongs to: ``conv1`` of ``conv1.relu``."""
        return self.op.layer.rpartition(".")[0] or self.op.layer


def net_steps(spec: Spec) -> list[Step]:
    """The steps of a net in order, losses and reports among them. A flattening before a linear layer is left out, as
    that layer flattens; weights that several steps share count for the first."""
    graph = spec.shaped
    passed = _passed(graph)
    counted: set[str] = set()
    found = []
    for op in graph:
        kind = spec.registry[op.kind]
        if not isinstance(kind, LayerKind) or op.name in passed:
            continue
        leaves = [graph.producers[name] for name in op.operands]
        weights = {leaf.attrs["role"]: leaf for leaf in leaves if leaf.kind in ("parameter", "state")}
        own = [leaf for leaf in weights.values() if leaf.kind == "parameter" and leaf.name not in counted]
        counted |= {leaf.name for leaf in own}
        sources = tuple(
            producer.layer
            for producer in (graph.producers[passed.get(name, name)] for name in op.operands)
            if producer.kind not in ("parameter", "state") and producer.layer and producer.attrs.get("field") != "label"
        )
        types = graph.types(op.operands)
        found.append(
            Step(
                op,
                kind,
                own[0].name.removesuffix(f".{own[0].attrs['role']}") if own else op.layer,
                sources,
                weights,
                kind.meaning(types, op.attrs),
                graph.type(op.name).shape[1:],
                sum(graph.type(leaf.name).elements for leaf in own),
                kind.multiply_adds(types, op.attrs) // max(1, graph.attrs["batch"]),
            )
        )
    return found


def _passed(graph: Graph) -> Mapping[str, str]:
    """Values of flattenings that only linear layers read, and what was flattened."""
    return {
        op.name: op.operands[0]
        for op in graph
        if op.kind == "flatten"
        and op.name not in graph.outputs.values()
        and all(user.kind == "linear" for user in graph.users[op.name])
    }


def pair(ours: Sequence[Step], theirs: Sequence[Step]) -> dict[str, str]:
    """The names of steps that are one and the same layer in both nets: those of one name and kind; between them those
    of one kind and shape in their order, then those of one kind."""
    known = {step.name: step.op.kind for step in theirs}
    pairs = {step.name: step.name for step in ours if known.get(step.name) == step.op.kind}
    rounds: tuple[Callable[[Step], Hashable], ...] = (lambda s: (s.op.kind, s.shape), lambda s: s.op.kind)
    for token in rounds:
        taken = set(pairs.values())
        a = [pairs.get(step.name) or token(step) for step in ours]
        b = [step.name if step.name in taken else token(step) for step in theirs]
        for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
            for i in range(block.size):
                pairs.setdefault(ours[block.a + i].name, theirs[block.b + i].name)
    return pairs
