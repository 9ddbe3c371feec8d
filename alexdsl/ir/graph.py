"""Ops and graphs: values are names, ops are immutable, a graph is a list of ops in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from alexdsl.ir.types import TensorType

# none, true/false, numbers, words, lists and nested mappings: all that the text form can print and read back.
Attr: TypeAlias = Any
Attrs: TypeAlias = Mapping[str, Attr]


@dataclass(frozen=True, slots=True)
class Result:
    """A value that an op makes: its name, its type (from inference on), its place in the arena (from planning on)."""

    name: str
    type: TensorType | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel call of an op: ``%name`` arguments are buffers, ``workspace`` the op's scratch, others numbers."""

    kernel: str
    args: tuple[Attr, ...]
    attrs: Attrs = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: ``results = kind(operands) {attrs}`` on a device, made for a layer at a place of the spec."""

    kind: str
    operands: tuple[str, ...]
    results: tuple[Result, ...]
    attrs: Attrs = field(default_factory=dict)
    device: str | None = None
    layer: str = ""
    location: str = ""
    launches: tuple[Launch, ...] = ()

    @property
    def name(self) -> str:
        """The first result's name, by which people speak of the op."""
        return self.results[0].name if self.results else self.kind

    @property
    def origin(self) -> str:
        """The layer that the op was made for and its place in the spec; the op's name where it is for several."""
        return f"{self.layer} ({self.location})" if self.layer else f"%{self.name}"

    def with_attrs(self, **changes: Attr) -> Op:
        """A copy with these attributes set; one set to ``...`` is removed."""
        merged = {**self.attrs, **changes}
        return replace(self, attrs={k: v for k, v in merged.items() if v is not ...})


@dataclass(frozen=True)
class Graph:
    """A stage of a program: ops in order, every value defined once and above its uses.

    ``outputs`` names what the graph is asked for; ``attrs`` holds facts of the whole (mode, batch, arenas);
    ``kernels`` the sources of the launches, at the program stage.
    """

    name: str
    stage: str
    ops: tuple[Op, ...]
    outputs: Mapping[str, str] = field(default_factory=dict)
    attrs: Attrs = field(default_factory=dict)
    kernels: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    @cached_property
    def results(self) -> Mapping[str, Result]:
        return {r.name: r for op in self.ops for r in op.results}

    @cached_property
    def producers(self) -> Mapping[str, Op]:
        return {r.name: op for op in self.ops for r in op.results}

    @cached_property
    def users(self) -> Mapping[str, Sequence[Op]]:
        users: dict[str, list[Op]] = {name: [] for name in self.results}
        for op in self.ops:
            for name in dict.fromkeys(op.operands):
                users[name].append(op)
        return users

    def layers(self, op: Op) -> Sequence[str]:
        """The layer that an op was made for; those of its operands' producers where it is for several."""
        return [op.layer] if op.layer else [self.producers[name].layer for name in op.operands]

    def type(self, name: str) -> TensorType:
        found = self.results[name].type
        if found is None:
            raise ValueError(f"%{name} has no type at stage '{self.stage}'")
        return found

    def types(self, names: Iterable[str]) -> tuple[TensorType, ...]:
        return tuple(self.type(name) for name in names)

    def with_ops(self, ops: Iterable[Op], **changes: Any) -> Graph:
        return replace(self, ops=tuple(ops), **changes)


def prune(graph: Graph) -> Graph:
    """The graph without ops whose results nobody uses."""
    live = set(graph.outputs.values())
    ops = []
    for op in reversed(graph.ops):
        if any(r.name in live for r in op.results):
            live.update(op.operands)
            ops.append(op)
    return graph.with_ops(reversed(ops))
