"""shaped -> differentiated: appends the backward pass, each layer's gradient rule emitting ops of the same IR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alexdsl.ir.graph import Attrs, Graph, Op, Result
from alexdsl.ir.protocol import LayerKind, Registry
from alexdsl.ir.semantics import Semantics
from alexdsl.ir.types import TensorType

# What a gradient op takes over from its layer's op whether or not the rule mentions it.
_INHERITED = ("towers", "sees", "place")


class GradientEmitter:
    """Appends gradient ops for one layer after another, naming and typing their results."""

    def __init__(self, graph: Graph, registry: Registry) -> None:
        self._semantics = Semantics(registry)
        self._types = {name: graph.type(name) for name in graph.results}
        self.ops: list[Op] = []
        self.layer: Op | None = None

    def type(self, name: str) -> TensorType:
        return self._types[name]

    def emit(
        self, kind: str, operands: Sequence[str], attrs: Attrs | None = None, *, names: Sequence[str]
    ) -> list[str]:
        merged = dict(attrs or {})
        layer = self.layer
        if layer is not None:
            merged |= {key: layer.attrs[key] for key in _INHERITED if key in layer.attrs}
        types = self._semantics.infer(kind, [self._types[name] for name in operands], merged)
        results = []
        for name, type in zip(names, types, strict=True):
            unique = self._unique(name)
            self._types[unique] = type
            results.append(Result(unique, type))
        where = (layer.layer, layer.location) if layer else ("", "")
        self.ops.append(Op(kind, tuple(operands), tuple(results), merged, None, *where))
        return [r.name for r in results]

    def _unique(self, name: str) -> str:
        count, unique = 1, name
        while unique in self._types:
            count += 1
            unique = f"{name}_{count}"
        return unique


def differentiate(graph: Graph, registry: Registry) -> Graph:
    """The graph with gradients of its ``loss`` output; trained ``parameter`` ops gain outputs ``NAME.grad``."""
    wanted = _depends_on_trained(graph)
    emitter = GradientEmitter(graph, registry)
    loss = graph.outputs["loss"]
    grads: dict[str, list[str]] = {name: [] for name in graph.results}
    # A batch in slices has a loss for each, of which the mean is taken.
    losses = graph.producers[loss].operands if graph.producers[loss].kind == "mean" else (loss,)
    (seed,) = emitter.emit("constant", (), {"value": 1 / len(losses)}, names=[f"{loss}.grad"])
    for name in losses:
        grads[name].append(seed)
    trained = {}
    for op in reversed(graph.ops):
        emitter.layer = op
        totals = [_total(emitter, grads[r.name], r.name) for r in op.results]
        if op.kind == "parameter" and totals[0] is not None:
            trained[f"{op.name}.grad"] = totals[0]
        kind = registry[op.kind]
        asked = [wanted[name] for name in op.operands]
        if not isinstance(kind, LayerKind) or not any(asked) or all(t is None for t in totals):
            continue
        for name, grad, ask in zip(op.operands, kind.gradient(emitter, op, totals, asked), asked, strict=True):
            if ask and grad is not None:
                grads[name].append(grad)
    ordered = {f"{op.name}.grad": trained[f"{op.name}.grad"] for op in graph if f"{op.name}.grad" in trained}
    return replace(
        graph.with_ops((*graph.ops, *emitter.ops)), stage="differentiated", outputs={**graph.outputs, **ordered}
    )


def _depends_on_trained(graph: Graph) -> dict[str, bool]:
    """For every value, whether a trained parameter (one with a learning rate) lies above it."""
    wanted: dict[str, bool] = {}
    for op in graph:
        trained = op.kind == "parameter" and op.attrs["lr"] != 0
        asked = trained or any(wanted[name] for name in op.operands)
        wanted.update((r.name, asked) for r in op.results)
    return wanted


def _total(emitter: GradientEmitter, parts: list[str], name: str) -> str | None:
    """One gradient of the many that met at a value, added in the forward order of its uses."""
    if len(parts) < 2:
        return parts[0] if parts else None
    # Towers share a weight's gradients by rows, all other values by channels.
    attrs: Attrs = {"cut": 0} if emitter.layer is not None and emitter.layer.kind == "parameter" else {}
    return emitter.emit("sum", tuple(reversed(parts)), attrs, names=[f"{name}.grad_sum"])[0]
