"""fused -> laid-out: gives every value the layout that its maker offers, with conversions where readers differ."""

from __future__ import annotations

from dataclasses import replace

from alexdsl.ir.backend import Backend
from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.types import TensorType


def layout(graph: Graph, backend: Backend) -> Graph:
    """The graph with layouts; a conversion is an op of its own, made once for each value and layout."""
    types: dict[str, TensorType] = {}
    converted: dict[tuple[str, str], str] = {}
    ops: list[Op] = []
    for op in graph:
        wanted, made = backend.layouts(op, [types[name] for name in op.operands], [_type(r) for r in op.results])
        operands = []
        for name, form in zip(op.operands, wanted, strict=True):
            if types[name].layout != form:
                key = (name, form)
                if key not in converted:
                    converted[key] = _unique(f"{name}.{form or 'rows'}", graph)
                    result = Result(converted[key], replace(types[name], layout=form))
                    types[result.name] = replace(types[name], layout=form)
                    ops.append(Op("convert", (name,), (result,), {"layout": form}, op.device, op.layer, op.location))
                name = converted[key]
            operands.append(name)
        results = tuple(
            replace(r, type=replace(_type(r), layout=form)) for r, form in zip(op.results, made, strict=True)
        )
        types.update((r.name, _type(r)) for r in results)
        ops.append(replace(op, operands=tuple(operands), results=results))
    return graph.with_ops(ops, stage="laid-out")


def _unique(name: str, graph: Graph) -> str:
    while name in graph.results:
        name += "_2"
    return name


def _type(result: Result) -> TensorType:
    assert result.type is not None
    return result.type
