"""A backend whose offers exercise the passes: it fuses, keeps values, wants layouts and scratch, and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alexdsl.ir.backend import Executable, Strategy
from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.protocol import OpKind, SolverKind, Types
from alexdsl.ir.structure import LEAVES
from tests.pipeline.nets import REGISTRY


class ExampleBackend:
    """Fuses any run of elementwise kinds onto any other kind, also lrn with maxpool; convolutions are channels last."""

    name = "example"
    prefetches = True

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        if any(kind.name in LEAVES for kind in chain):
            raise AssertionError("leaves are not computed, and not fused")
        if [kind.name for kind in chain[-2:]] == ["lrn", "maxpool"]:
            return True
        return all(kind.scalar is not None for kind in chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        if op.kind == "convert":
            return [operands[0].layout], [results[0].layout]
        if isinstance(REGISTRY.ops.get(op.kind), SolverKind) or op.kind in ("copy", "sum"):
            return [*[operands[0].layout] * (len(operands) - 1), operands[-1].layout], [operands[0].layout] * len(
                results
            )
        form = "nhwc" if op.kind.startswith("conv") else ""
        return [form if len(t.shape) == 4 else "" for t in operands], [
            form if len(t.shape) == 4 else "" for t in results
        ]

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        if op.kind.startswith("conv"):
            return [Strategy("slow", 0, 2.0), Strategy("fast", 1000, 1.0)]
        return [Strategy("")]

    def lower(self, graph: Graph) -> Graph:
        ops = []
        for op in graph:
            names = [f"%{name}" for name in (*op.operands, *(r.name for r in op.results))]
            launch = Launch("anything", (*names, 1, 0.5, "workspace"), {"grid": (1, 2)})
            ops.append(op if op.kind in LEAVES else replace(op, launches=(launch,)))
        return graph.with_ops(ops, stage="program", kernels={"anything": "def kernel(*args):\n\n    pass  \n"})

    def load(self, program: Graph, threads: int | None = None, progress: Any = None) -> Executable:
        raise NotImplementedError
