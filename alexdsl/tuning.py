"""Strategies chosen by measuring: every op that has several runs alone under each, for some seconds in all.

What is chosen is part of the program's text, as ``strategy`` of its op; a program with the same choices computes the
same numbers, whenever they were made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import numpy as np

from alexdsl.ir.backend import Backend, Executable, Progress, Strategy, silent
from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Array, Registry
from alexdsl.ir.structure import LEAVES
from alexdsl.passes.memory import plan_memory

ROUNDS = 5
"""Runs of every strategy, in turns, of which the median counts."""
HOPELESS = 4.0
"""Strategies that are expected to take so many times the cheapest's time are not measured."""
CLEARLY = 0.97
"""The part of the default's time that another strategy must at least stay under to be taken."""
DEVICE = "device"


@dataclass(frozen=True)
class Tuned:
    """An op that was measured, and all others like it: the seconds of each strategy, the default first."""

    names: Sequence[str]
    layer: str
    kind: str
    seconds: Mapping[str, float]

    @property
    def default(self) -> str:
        return next(iter(self.seconds))

    @property
    def chosen(self) -> str:
        """The fastest, or the default where none is clearly faster."""
        best = min(self.seconds, key=lambda name: self.seconds[name])
        return best if self.seconds[best] < CLEARLY * self.seconds[self.default] else self.default


@dataclass(frozen=True)
class Tuner:
    """Measures on a backend's real device, with so many threads where it has any."""

    registry: Registry
    backend: Backend
    real: str
    threads: int | None = None
    progress: Progress = silent

    def tune(self, graph: Graph, seconds: float) -> tuple[list[Tuned], int]:
        """Measures a laid-out graph's ops, those that are expected to take longest first, until the time is up; how
        many sorts of ops there are in all."""
        end, found, alike = perf_counter() + seconds, [], self._alike(graph)
        for ops in alike:
            seen = self._measured(graph, ops, end)
            if seen is None:
                break
            found.append(seen)
        return found, len(alike)

    def strategies(self, graph: Graph, op: Op) -> list[Strategy]:
        """Those of the graph's precision, the default first."""
        found = self.backend.strategies(op, graph.types(op.operands), graph.types(r.name for r in op.results))
        precision = graph.attrs.get("precision", "fp32")
        asked = [s for s in found if s.precision == precision] or [s for s in found if s.precision == "fp32"]
        asked.sort(key=lambda strategy: strategy.cost)
        return [s for s in asked if s.cost <= HOPELESS * asked[0].cost]

    def _alike(self, graph: Graph) -> list[list[Op]]:
        """Ops with a choice, equal ones together, by the time that they are expected to take."""
        alike: dict[str, list[Op]] = {}
        costs: dict[str, float] = {}
        for op in graph:
            types = graph.types([*op.operands, *(r.name for r in op.results)])
            if op.kind in LEAVES or any(type.dtype != "f32" for type in types):
                continue
            found = self.strategies(graph, op)
            if len(found) > 1:
                key = repr((op.kind, op.attrs, types))
                alike.setdefault(key, []).append(op)
                costs[key] = costs.get(key, 0.0) + found[0].cost
        return [alike[key] for key in sorted(alike, key=lambda key: -costs[key])]

    def _measured(self, graph: Graph, ops: Sequence[Op], end: float) -> Tuned | None:
        """The first of some equal ops under each strategy; none where time is up before."""
        single = alone(graph, ops[0])
        self.progress(f"tuning {ops[0].layer}, {ops[0].kind}")
        ready: dict[str, Executable] = {}
        try:
            for strategy in self.strategies(graph, ops[0]):
                if perf_counter() > end:
                    return None
                ready[strategy.name] = self.loaded(single, strategy)
                ready[strategy.name].timed()
            turns = [{name: _seconds(executable) for name, executable in ready.items()} for _ in range(ROUNDS)]
        finally:
            for executable in ready.values():
                executable.close()
        times = {name: median(turn[name] for turn in turns) for name in ready}
        return Tuned([op.name for op in ops], ops[0].layer, ops[0].kind, times)

    def loaded(self, single: Graph, strategy: Strategy) -> Executable:
        """An op alone under a strategy, its operands random."""
        op = single.ops[-1].with_attrs(strategy=strategy.name, workspace=strategy.workspace)
        planned = plan_memory(single.with_ops((*single.ops[:-1], op), stage="scheduled"), self.registry)
        executable = self.backend.load(self.backend.lower(planned), {DEVICE: self.real}, self.threads)
        for name, array in values(single):
            executable.write(name, array)
        return executable


def alone(graph: Graph, op: Op) -> Graph:
    """A laid-out graph of nothing but the op and its operands."""
    leaves = [
        Op("parameter" if type.layout == "ohwi" else "input", (), (graph.results[name],), {"field": name}, DEVICE)
        for name, type in dict(zip(op.operands, graph.types(op.operands), strict=True)).items()
    ]
    ops, outputs = (*leaves, replace(op, device=DEVICE)), {r.name: r.name for r in op.results}
    return Graph(graph.name, "laid-out", ops, outputs, {"devices": (DEVICE,)})


def values(single: Graph) -> Iterator[tuple[str, Array]]:
    """Normal random numbers for the operands of an op alone: kernels are never timed on zeros."""
    random = np.random.default_rng(0)
    for name in dict.fromkeys(single.ops[-1].operands):
        yield name, random.standard_normal(single.type(name).shape, np.float32)


def _seconds(executable: Executable) -> float:
    return sum(seconds for _, seconds in executable.timed())
