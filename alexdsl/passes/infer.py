"""parsed -> shaped: gives every value its type, weights their shapes; all misfits of a spec at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from alexdsl.ir.graph import Graph, Op, Result
from alexdsl.ir.protocol import LayerKind, Registry, ShapeError, Weight
from alexdsl.ir.semantics import Semantics, cut_type
from alexdsl.ir.types import MAX_ELEMENTS, TensorType, f32

Report = Callable[[Op, str, str], None]
"""Called with an op, what does not fit, and a hint (may be empty)."""

MOST_BYTES = 2**44
"""No value of an honest spec needs 16 TiB; larger ones are typing errors."""


def infer(graph: Graph, registry: Registry, report: Report | None = None) -> Graph:
    """The graph with types. Misfits go to ``report`` (their values stay untyped); without one, ShapeError is raised."""
    types: dict[str, TensorType | None] = {}
    leaves: dict[str, Op] = {}
    semantics = Semantics(registry)
    typed: dict[str, tuple[TensorType, ...]] = {}
    for op in graph:
        if op.kind == "input":
            first, last = op.attrs.get("rows", (0, graph.attrs["batch"]))
            types[op.name] = _input_type(op, last - first)
        elif op.kind in ("parameter", "state"):
            leaves[op.name] = op
        else:
            try:
                results = _results(op, types, leaves, semantics)
            except ShapeError as error:
                if report is None:
                    raise
                report(op, str(error), error.hint)
                results = None
            for i, result in enumerate(op.results):
                types[result.name] = results[i] if results else None
            if results:
                typed[op.name] = results
    ops = []
    newest: dict[str, str] = {}
    for op in graph:
        if op.kind in ("parameter", "state"):
            op = leaves[op.name]
        names = (_result(r, types) for r in op.results)
        more = typed.get(op.name, ())[len(op.results) :]
        extra = (Result(f"{op.name}.result_{i + len(op.results)}", t) for i, t in enumerate(more))
        full = replace(op, operands=tuple(newest.get(n, n) for n in op.operands), results=(*names, *extra))
        # State that layers share goes from use to use: the next one updates what this one leaves behind.
        taken_over = registry[op.kind].inplace if len(full.results) > len(op.results) else {}
        newest |= {op.operands[operand]: full.results[result].name for result, operand in taken_over.items()}
        ops.append(full)
    return graph.with_ops(ops, stage="shaped")


def _result(result: Result, types: dict[str, TensorType | None]) -> Result:
    return replace(result, type=types.get(result.name))


def _input_type(op: Op, batch: int) -> TensorType:
    if op.attrs["field"] == "label":
        return TensorType("i32", (batch,))
    if op.attrs["field"] == "step":
        return TensorType("i64", ())
    return f32(batch, *op.attrs["shape"])


def _results(
    op: Op, types: dict[str, TensorType | None], leaves: dict[str, Op], semantics: Semantics
) -> tuple[TensorType, ...] | None:
    """The op's result types, its weights typed on the way; none after an earlier misfit above it."""
    kind = semantics.registry[op.kind]
    values = [name for name in op.operands if name not in leaves]
    if any(types[name] is None for name in values):
        return None
    if isinstance(kind, LayerKind) and len(values) < len(op.operands):
        inputs = [_known(types[name]) for name in op.operands[: len(op.operands)] if name not in leaves]
        found = _weights(kind, inputs, op, semantics)
        for name, weight in zip((n for n in op.operands if n in leaves), found, strict=True):
            _type_leaf(name, weight, op, types, leaves)
    given = [_known(types[name]) for name in op.operands]
    results = tuple(semantics.infer(op.kind, given, op.attrs))
    for type in results:
        _check_size(type)
    return results


def _known(type: TensorType | None) -> TensorType:
    assert type is not None
    return type


def _weights(kind: LayerKind, inputs: list[TensorType], op: Op, semantics: Semantics) -> list[Weight]:
    """The layer's weights, whole; a tower's weights are rows of them."""
    towers = op.attrs.get("towers", 1)
    whole = kind.weights(inputs, op.attrs)
    if towers == 1:
        return list(whole)
    cuts, _ = kind.cuts([*inputs, *(f32(*w.shape) for w in whole)], op.attrs)
    parts = [cut_type(type, cut, towers) for type, cut in zip(inputs, cuts, strict=False)]
    for weight in whole:
        if weight.shape[0] % towers:
            raise ShapeError(f"{weight.shape[0]} output channels cannot be shared equally by {towers} towers")
    found = kind.weights(parts, semantics.tower_attrs(op.kind, op.attrs))
    return [replace(w, shape=(w.shape[0] * towers, *w.shape[1:])) for w in found]


def _type_leaf(name: str, weight: Weight, op: Op, types: dict[str, TensorType | None], leaves: dict[str, Op]) -> None:
    wanted = f32(*weight.shape)
    _check_size(wanted)
    known = types.get(name)
    if known is not None and known != wanted:
        raise ShapeError(f"shares '{name}', which is {known}, but needs {wanted}")
    types[name] = wanted
    towers = {"towers": op.attrs["towers"]} if op.attrs.get("towers", 1) > 1 else {}
    leaf = leaves[name]
    if known is not None and leaf.kind == "state":
        # Every use updates it where it lies, which a copy or a join would not be.
        if leaf.attrs.get("towers", 1) != op.attrs.get("towers", 1):
            raise ShapeError(f"shares '{name}' across the edge of a group", "a use with statistics of its own")
        if leaf.attrs.get("place") != op.attrs.get("place"):
            raise ShapeError(f"shares '{name}' with a layer on another device", "the same place for both")
    leaves[name] = leaves[name].with_attrs(fans=weight.fans, **towers)


def _check_size(type: TensorType) -> None:
    if type.elements > MAX_ELEMENTS or type.bytes > MOST_BYTES:
        raise ShapeError(
            f"a value {type} needs {type.bytes / 2**40:,.0f} TiB of memory", "check the sizes for a slip of the pen"
        )
