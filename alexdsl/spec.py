"""A spec read from a file: bound, checked, and ready to be compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from alexdsl.data.block import ask_classes, data_problems, data_settings
from alexdsl.data.settings import DataSettings
from alexdsl.ir.graph import Graph
from alexdsl.ir.protocol import Registry
from alexdsl.language import Diagnostic, Diagnostics, Source, parse, parse_expression, read_source
from alexdsl.language.syntax import Expr, File
from alexdsl.passes.bind import Bound, SolverSettings, bind
from alexdsl.passes.check import check_shapes
from alexdsl.registry import registry


@dataclass(frozen=True)
class Spec:
    """A spec as text and as bound; ``overrides`` are the leaves that ``--set`` changed."""

    source: Source
    path: Path | None
    overrides: Mapping[str, str]
    bound: Bound
    data: DataSettings | None
    registry: Registry
    seed: int = 0

    @property
    def name(self) -> str:
        return self.bound.graph.name

    @property
    def solver(self) -> SolverSettings:
        return self.bound.solver

    @property
    def graph(self) -> Graph:
        """The parsed graph."""
        return self.bound.graph

    @property
    def warnings(self) -> Sequence[Diagnostic]:
        return self.bound.warnings

    @cached_property
    def shaped(self) -> Graph:
        """The forward graph with types."""
        return check_shapes(self.bound, self.registry)

    def with_batch(self, batch: int) -> Spec:
        """The same spec for batches of another size."""
        graph = self.graph.with_ops(self.graph.ops, attrs={**self.graph.attrs, "batch": batch})
        return replace(self, bound=replace(self.bound, graph=graph, batch=batch))


def with_overrides(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Overrides with later ones on top; epochs and steps stand in each other's place."""
    merged = {**before, **now}
    for name, other in (("solver.steps", "solver.epochs"), ("solver.epochs", "solver.steps")):
        if name in now and other not in now:
            merged.pop(other, None)
    return merged


def load(path: str | Path, *, set: Mapping[str, str] | None = None, seed: int = 0) -> Spec:
    """Read, bind and check a spec.

    ``set`` overrides leaves (``{"solver.lr": "0.02"}``). Raises SpecError with all mistakes, each with its place.
    """
    path = Path(path)
    return from_source(read_source(path), path, set or {}, seed)


def from_source(
    source: Source, path: Path | None = None, overrides: Mapping[str, str] | None = None, seed: int = 0
) -> Spec:
    """A spec from a text; see ``load``."""
    overrides = dict(overrides or {})
    file: File = parse(source)
    expressions: dict[str, Expr] = {name: parse_expression(text, f"--set {name}") for name, text in overrides.items()}
    kinds = registry()
    bound = bind(file, kinds, path=path, overrides=expressions, seed=seed, ask=ask_classes, check=data_problems)
    diagnostics = Diagnostics()
    data = data_settings(bound.data, diagnostics) if bound.data else None
    diagnostics.raise_if_errors()
    spec = Spec(source, path, overrides, bound, data, kinds, seed)
    _ = spec.shaped
    return spec
