"""The CUDA backend's offers put together: which kernel file answers for which op, and the lowering to launches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from alexdsl.ir.backend import Executable, Gap, Progress, Strategy, silent
from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.kernels import fingerprint, render
from alexdsl.ir.protocol import OpKind, Registry, Types
from alexdsl.ir.structure import LEAVES
from alexdsl_cuda.conv import Conv
from alexdsl_cuda.dialect import CUDA
from alexdsl_cuda.offer import MOST_ELEMENTS, Call, Offer

KERNEL_FILES = (Conv,)
"""Kernels for a new layer kind are a file beside this one and an entry here."""


class CudaBackend:
    """Numba kernels for CUDA."""

    name = "cuda"

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @cached_property
    def _offers(self) -> Mapping[str, Offer]:
        offers = [make(self.registry) for make in KERNEL_FILES]
        return {head: offer for offer in offers for head in offer.heads}

    def _of(self, op: Op) -> Offer:
        found = self._offers.get(op.kind.split("+")[0])
        if found is None:
            raise Gap(f"the CUDA backend has no kernel for '{op.kind}' (%{op.name})")
        return found

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        found = self._offers.get(chain[0].name)
        return found is not None and found.fuses(chain, keeps)

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        if op.kind in LEAVES:
            return [], [""]
        return self._of(op).layouts(op, operands, results)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        for type in (*operands, *results):
            if type.elements > MOST_ELEMENTS:
                raise Gap(
                    f"the CUDA backend has no kernel for '{op.kind}' (%{op.name}) of {type}: it counts in 32 bits"
                )
        return self._of(op).strategies(op, operands, results)

    def lower(self, graph: Graph) -> Graph:
        kernels: dict[str, str] = {}
        ops = []
        for op in graph:
            if op.kind in LEAVES:
                ops.append(op)
                continue
            calls = self._of(op).calls(op, graph.types(op.operands), graph.types(r.name for r in op.results))
            ops.append(replace(op, launches=tuple(_launch(call, kernels) for call in calls)))
        return graph.with_ops(ops, stage="program", kernels=kernels)

    def load(self, program: Graph, threads: int | None = None, progress: Progress = silent) -> Executable:
        raise Gap(
            "the CUDA backend compiles kernels but cannot run them yet: its runtime is not built; use the cpu backend"
        )


def _launch(call: Call, kernels: dict[str, str]) -> Launch:
    source = render(call.function, call.constants, CUDA)
    name = f"{call.function.name}_{fingerprint(source)}"
    kernels[name] = source
    return Launch(name, tuple(call.args), {"grid": call.grid, "block": call.block})
