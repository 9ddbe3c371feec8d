"""differentiated -> placed: cuts towers, gives every op one device, and makes copies, joins and sums explicit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alexdsl.ir.graph import Attrs, Graph, Op, Result
from alexdsl.ir.protocol import PARTIAL, Cut, Registry
from alexdsl.ir.semantics import Semantics
from alexdsl.ir.structure import LEAVES
from alexdsl.ir.types import TensorType


def place(graph: Graph, registry: Registry) -> Graph:
    """The graph with towers lowered one by one, on one device as on many, so that any placement computes the same.

    An op's ``place`` attribute names its device, or one per tower; others go to the graph's first device.
    """
    placer = _Placer(graph, registry)
    for op in graph:
        placer.add(op)
    outputs = {label: placer.whole(name, placer.home) for label, name in graph.outputs.items()}
    attrs = {**graph.attrs, "devices": placer.devices}
    return replace(graph, stage="placed", ops=tuple(placer.ops), outputs=outputs, attrs=attrs)


@dataclass(frozen=True)
class _Parts:
    """Where a value of the graph is now: one part per tower along ``cut``, or a single whole part."""

    cut: Cut
    names: tuple[str, ...]


class _Placer:
    """Appends placed ops, remembering the forms (whole, cut, copied) in which each value already exists."""

    def __init__(self, graph: Graph, registry: Registry) -> None:
        self.graph = graph
        self.registry = registry
        self.semantics = Semantics(registry)
        self.devices: tuple[str, ...] = graph.attrs["devices"]
        self.home = self.devices[0]
        self.ops: list[Op] = []
        self.parts: dict[str, _Parts] = {}
        self.device: dict[str, str] = {}
        self.types: dict[str, TensorType] = {}
        self.derived: dict[tuple[str, ...], str] = {}
        self.current: Op | None = None

    def add(self, op: Op) -> None:
        self.current = op
        towers = op.attrs.get("towers", 1)
        places = op.attrs.get("place", (self.home,))
        if towers == 1:
            device = places[0]
            operands = tuple(self.whole(name, device) for name in op.operands)
            self._append(replace(op, operands=operands, device=device).with_attrs(place=...))
            for r in op.results:
                self.parts[r.name] = _Parts(None, (r.name,))
            return
        if len(places) == 1:
            places = places * towers
        if op.kind in LEAVES:
            self._add_leaf(op, towers, places)
        else:
            self._add_towers(op, towers, places)

    def _add_leaf(self, op: Op, towers: int, places: Sequence[str]) -> None:
        """A weight or state of towers: rows of the whole, each where its tower is."""
        type = self.graph.type(op.name)
        part = type.with_shape(type.shape[0] // towers, *type.shape[1:])
        names = tuple(f"{op.name}.{t}" for t in range(towers))
        for t, name in enumerate(names):
            tower = op.with_attrs(of=op.name, tower=t, place=...)
            self._append(replace(tower, results=(Result(name, part),), device=places[t]))
        self.parts[op.name] = _Parts(0, names)

    def _add_towers(self, op: Op, towers: int, places: Sequence[str]) -> None:
        kind = self.registry[op.kind]
        types = self.graph.types(op.operands)
        operand_cuts, result_cuts = kind.cuts(types, op.attrs)
        names: list[list[str]] = [[] for _ in op.results]
        for t in range(towers):
            operands = tuple(
                self.part(name, cut, t, towers, places[t]) for name, cut in zip(op.operands, operand_cuts, strict=True)
            )
            attrs = self.semantics.tower_attrs(op.kind, op.attrs, t)
            attrs = {k: v for k, v in attrs.items() if k != "place"}
            found = self.semantics.infer(op.kind, [self.types[name] for name in operands], attrs)
            results = tuple(Result(f"{r.name}.{t}", type) for r, type in zip(op.results, found, strict=True))
            self._append(replace(op, operands=operands, results=results, attrs=attrs, device=places[t]))
            for of, r in zip(names, results, strict=True):
                of.append(r.name)
        for r, cut, of in zip(op.results, result_cuts, names, strict=True):
            self.parts[r.name] = _Parts(cut, tuple(of)) if cut is not None else _Parts(None, (of[0],))

    def whole(self, name: str, device: str) -> str:
        """The whole of a value on a device."""
        parts = self.parts[name]
        if parts.cut is None:
            return self._on(parts.names[0], device)
        local = [self._on(part, device) for part in parts.names]
        if parts.cut == PARTIAL:
            return self._derive("sum", local, {}, f"{name}.sum", device)
        return self._derive("join", local, {"axis": parts.cut}, f"{name}.join", device)

    def part(self, name: str, cut: Cut, tower: int, towers: int, device: str) -> str:
        """One tower's part of a value on a device; what travels is the part, not the whole."""
        parts = self.parts[name]
        if not isinstance(cut, int):
            return self.whole(name, device)
        if parts.cut == cut and len(parts.names) == towers:
            return self._on(parts.names[tower], device)
        if parts.cut in (None, PARTIAL):
            local = [self._on(self._slice(p, cut, tower, towers), device) for p in parts.names]
            return local[0] if len(local) == 1 else self._derive("sum", local, {}, f"{name}.{tower}.sum", device)
        return self._slice(self.whole(name, device), cut, tower, towers)

    def _slice(self, name: str, axis: int, tower: int, towers: int) -> str:
        size = self.types[name].shape[axis] // towers
        attrs = {"axis": axis, "start": tower * size, "stop": (tower + 1) * size}
        return self._derive("slice", [name], attrs, f"{name}.slice_{tower}", self.device[name])

    def _on(self, name: str, device: str) -> str:
        source = self.device[name]
        if source == device:
            return name
        producer = next((op for op in self.ops if op.kind == "input" and op.name == name), None)
        if producer is not None and not self.types[name].shape:
            # A scalar that the host brings is brought to every device.
            key = ("input", name, device)
            if key not in self.derived:
                self.derived[key] = f"{name}.{device}"
                self._append(replace(producer, results=(Result(f"{name}.{device}", self.types[name]),), device=device))
            return self.derived[key]
        attrs = {"source": source, "bytes": self.types[name].bytes}
        return self._derive("copy", [name], attrs, f"{name}.{device}", device)

    def _derive(self, kind: str, operands: Sequence[str], attrs: Attrs, name: str, device: str) -> str:
        key = (kind, *operands, *(f"{k}={v}" for k, v in attrs.items()), device)
        if key not in self.derived:
            types = self.semantics.infer(kind, [self.types[o] for o in operands], attrs)
            unique = name
            while unique in self.types or unique in self.graph.results:
                unique += f".{device}"
            where = (self.current.layer, self.current.location) if self.current else ("", "")
            self._append(Op(kind, tuple(operands), (Result(unique, types[0]),), attrs, device, *where))
            self.derived[key] = unique
        return self.derived[key]

    def _append(self, op: Op) -> None:
        self.ops.append(op)
        for r in op.results:
            assert r.type is not None
            assert op.device is not None
            self.types[r.name] = r.type
            self.device[r.name] = op.device
