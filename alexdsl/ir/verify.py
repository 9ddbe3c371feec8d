"""The verifier: a graph is well formed, its types follow from its ops, and every op is legal at its stage."""

from __future__ import annotations

from collections.abc import Iterator

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import STAGES, Registry
from alexdsl.ir.semantics import Semantics
from alexdsl.ir.structure import LEAVES

ALIGN = 64
"""Bytes between which every buffer of an arena begins; a cache line, and the widest vector."""


class InvalidGraph(ValueError):
    """A graph breaks a law of the IR: a fault of the compiler, not of the spec."""


def verify(graph: Graph, registry: Registry) -> None:
    """Raises InvalidGraph naming the op and the law it breaks."""
    if graph.stage not in STAGES:
        raise InvalidGraph(f"there is no stage '{graph.stage}'")
    defined: set[str] = set()
    for op in graph:
        for law in _broken(graph, op, registry, defined):
            raise InvalidGraph(f"%{op.name} = {op.kind} at stage '{graph.stage}': {law}")
    for label, name in graph.outputs.items():
        if name not in defined:
            raise InvalidGraph(f"output '{label}': %{name} is not defined")
    if graph.stage != "parsed":
        _verify_replacements(graph, registry)


def reached(graph: Graph, stage: str) -> bool:
    """Whether the graph is at ``stage`` or beyond it."""
    return STAGES.index(graph.stage) >= STAGES.index(stage)


def _broken(graph: Graph, op: Op, registry: Registry, defined: set[str]) -> Iterator[str]:
    """The laws that an op breaks; later ones hold only where the earlier ones do."""
    for name in op.operands:
        if name not in defined:
            yield f"%{name} is used before it is defined"
    for result in op.results:
        if result.name in defined:
            yield f"%{result.name} is defined twice"
        defined.add(result.name)
    yield from _illegal(graph, op, registry)
    yield from _mistyped(graph, op, registry)
    if reached(graph, "placed"):
        yield from _misplaced(graph, op)
    if reached(graph, "scheduled"):
        yield from _unplanned(graph, op)
    if graph.stage == "program":
        yield from _not_lowered(graph, op)


def _illegal(graph: Graph, op: Op, registry: Registry) -> Iterator[str]:
    for position, name in enumerate(op.kind.split("+")):
        kind = registry.ops.get(name)
        if kind is None:
            yield f"there is no op kind '{name}'"
            continue
        past = graph.stage != "program" and STAGES.index(graph.stage) > STAGES.index(kind.last_stage)
        if past or not reached(graph, kind.first_stage):
            yield f"'{name}' is legal from '{kind.first_stage}' to '{kind.last_stage}'"
        if "+" in op.kind and (kind.flow in kind.inplace.values() if position else 0 in kind.inplace):
            yield f"'{name}' acts in place on what flows, and is not fused"
        elif "+" in op.kind and any(f"{position}.{result}" not in op.attrs["keep"] for result in kind.inplace):
            yield f"'{name}' acts in place, and does not keep what it makes there"
    if "+" in op.kind and not reached(graph, "fused"):
        yield "fused ops come with stage 'fused'"
    if op.kind not in LEAVES and op.attrs.get("towers", 1) != 1 and reached(graph, "placed"):
        yield "towers are cut before stage 'placed'"
    if (op.device is not None) != reached(graph, "placed"):
        yield "ops have a device from stage 'placed' on, and not before"


def _mistyped(graph: Graph, op: Op, registry: Registry) -> Iterator[str]:
    if graph.stage == "parsed":
        return
    for result in op.results:
        if result.type is None:
            yield f"%{result.name} has no type"
        elif result.type.layout and not reached(graph, "laid-out"):
            yield "layouts come with stage 'laid-out'"
    if op.kind in LEAVES:
        if op.operands or len(op.results) != 1:
            yield "a leaf has one result and no operands"
        return
    found = graph.types(r.name for r in op.results)
    try:
        inferred = Semantics(registry).infer(op.kind, graph.types(op.operands), op.attrs)
    except (ValueError, LookupError, TypeError) as error:
        yield f"its rule refuses its operands or attributes: {type(error).__name__}: {error}"
        return
    if [(t.dtype, t.shape) for t in inferred] != [(t.dtype, t.shape) for t in found]:
        yield f"its type is {', '.join(map(str, found))}, by its rule {', '.join(map(str, inferred))}"
    if op.kind == "convert" and found[0].layout != op.attrs["layout"]:
        yield f"its layout is '{found[0].layout}', by its attribute '{op.attrs['layout']}'"


def _misplaced(graph: Graph, op: Op) -> Iterator[str]:
    if op.device not in graph.attrs["devices"]:
        yield f"there is no device @{op.device}"
    source = op.attrs["source"] if op.kind == "copy" else op.device
    for name in op.operands:
        found = graph.producers[name].device
        if found != source:
            yield f"%{name} is on @{found}, and is read on @{source}"


def _unplanned(graph: Graph, op: Op) -> Iterator[str]:
    sizes = [(r.offset, graph.type(r.name).bytes, f"%{r.name}") for r in op.results]
    if op.attrs.get("workspace"):
        sizes.append((op.attrs.get("workspace_at"), op.attrs["workspace"], "its workspace"))
    if "arenas" not in graph.attrs:
        # Between the two halves of the stage: strategies are chosen, memory is not planned yet.
        return
    for offset, size, what in sizes:
        if offset is None:
            yield f"{what} has no place in the arena"
        elif offset % ALIGN or not 0 <= offset <= graph.attrs["arenas"][op.device] - size:
            yield f"{what} lies at {offset}, outside of its arena or between two lines of {ALIGN} bytes"


def _not_lowered(graph: Graph, op: Op) -> Iterator[str]:
    # A backend may move bytes from device to device without a kernel.
    if bool(op.launches) == (op.kind in LEAVES) and op.kind != "copy":
        yield "all ops but leaves have launches"
    names = {*op.operands, *(r.name for r in op.results)}
    for launch in op.launches:
        if launch.kernel not in graph.kernels:
            yield f"there is no kernel '{launch.kernel}'"
        for arg in launch.args:
            if isinstance(arg, str) and arg.startswith("%") and arg[1:] not in names:
                yield f"kernel '{launch.kernel}' is given {arg}, which is no operand or result"


def _verify_replacements(graph: Graph, registry: Registry) -> None:
    """What an op overwrites is a weight or state (or its newest value), and nobody reads the old value afterwards."""
    gone: dict[str, str] = {}
    replaced: set[str] = set()
    for op in graph:
        for name in op.operands:
            if name in gone:
                raise InvalidGraph(
                    f"%{op.name} = {op.kind} at stage '{graph.stage}': %{name} was overwritten by %{gone[name]}"
                )
        for result, operand in registry.replaced(op).items():
            name = op.operands[operand]
            lasting = graph.producers[name].kind in ("parameter", "state") or name in replaced
            if not lasting and op.kind not in ("accumulate", "clip"):
                raise InvalidGraph(
                    f"%{op.name} = {op.kind} at stage '{graph.stage}': overwrites %{name}, no weight or state"
                )
            gone[name] = op.name
            if result < len(op.results):
                replaced.add(op.results[result].name)
    for label, name in graph.outputs.items():
        if name in gone:
            raise InvalidGraph(f"output '{label}': %{name} was overwritten by %{gone[name]}")
