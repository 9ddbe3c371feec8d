"""The CPU backend's offers put together: which kernel file answers for which op, and the lowering to launches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from alexdsl.ir.backend import Executable, Gap, Progress, Strategy, silent
from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.kernels import fingerprint, render
from alexdsl.ir.protocol import OpKind, Registry, Types
from alexdsl.ir.structure import LEAVES
from alexdsl_cpu.dialect import CPU
from alexdsl_cpu.elementwise import Elementwise
from alexdsl_cpu.kernel_files import KERNEL_FILES
from alexdsl_cpu.offer import FILTERS, Call, Offer, rows_of


class CpuBackend:
    """Numba kernels for the CPU: a fixed cut of every op into units, done by any number of workers."""

    name = "cpu"

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @cached_property
    def _offers(self) -> Mapping[str, Offer]:
        offers = [make(self.registry) for make in KERNEL_FILES]
        return {head: offer for offer in offers for head in offer.heads}

    def offer(self, kinds: Sequence[OpKind]) -> Offer:
        """Who answers for an op or chain. Raises Gap."""
        head = kinds[0]
        pair = "+".join(kind.name for kind in kinds[:2])
        found = self._offers.get(pair) or self._offers.get(head.name)
        if found is None and head.scalar is not None:
            found = Elementwise(self.registry)
        if found is None:
            raise Gap(f"the CPU backend has no kernel for '{head.name}'")
        return found

    def _of(self, op: Op) -> Offer:
        return self.offer([self.registry[name] for name in op.kind.split("+")])

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return self.offer(chain).fuses(chain, keeps)

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        if op.kind in LEAVES:
            weights = op.kind != "input" and len(results[0].shape) == 4
            return [], [FILTERS if weights else rows_of(results[0])]
        return self._of(op).layouts(op, operands, results)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return self._of(op).strategies(op, operands, results)

    def lower(self, graph: Graph) -> Graph:
        kernels: dict[str, str] = {}
        ops = []
        for op in graph:
            if op.kind in LEAVES:
                ops.append(op)
                continue
            calls = self._of(op).calls(op, graph.types(op.operands), graph.types(r.name for r in op.results))
            ops.append(replace(op, launches=tuple(self._launch(call, kernels) for call in calls)))
        return graph.with_ops(ops, stage="program", kernels=kernels)

    def _launch(self, call: Call, kernels: dict[str, str]) -> Launch:
        source = render(call.function, call.constants, CPU)
        name = f"{call.function.name}_{fingerprint(source)}"
        kernels[name] = source
        params = [annotation for _, annotation in call.function.parameters[3:]]
        return Launch(name, tuple(call.args), {"units": call.units, "grain": call.grain, "params": tuple(params)})

    def load(self, program: Graph, threads: int | None = None, progress: Progress = silent) -> Executable:
        from alexdsl_cpu.runtime import CpuExecutable

        return CpuExecutable(program, threads, progress)
