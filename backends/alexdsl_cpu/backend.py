"""The CPU backend: its kernel files put together, their calls as launches, and the loading of programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from alexdsl.ir.backend import Executable, Progress, Rates, Unavailable, silent
from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.host import machine_memory
from alexdsl.ir.offers import OfferedBackend
from alexdsl_cpu.dialect import CPU
from alexdsl_cpu.kernel_files import KERNEL_FILES
from alexdsl_cpu.offer import Call


class CpuBackend(OfferedBackend[Call]):
    """Numba kernels for the CPU: a fixed cut of every op into units, done by any number of workers."""

    name = "cpu"
    devices = ("cpu",)
    imagined: ClassVar[tuple[str, ...]] = ()
    prefetches = False
    forms = ("source",)
    cards: ClassVar[tuple[str, ...]] = ()
    dialect = CPU
    files = KERNEL_FILES

    def launch(self, call: Call, kernels: dict[str, str]) -> Launch:
        name = self.rendered(call.function, call.constants, kernels)
        params = [annotation for _, annotation in call.function.parameters[3:]]
        return Launch(name, tuple(call.args), {"units": call.units, "grain": call.grain, "params": tuple(params)})

    def show(self, program: Graph, kernel: str, form: str, card: str) -> str:
        return program.kernels[kernel]

    def resources(self, program: Graph, op: Op, launch: Launch, card: str) -> Mapping[str, str]:
        raise Unavailable("the cpu backend does not analyse its kernels")

    def memory(self, real: str) -> int:
        return machine_memory()

    def rates(self, real: str) -> Rates | None:
        from alexdsl_cpu.rates import measured
        from alexdsl_cpu.runtime import available

        threads = available()
        return Rates(*measured(threads), f"sgemm and copies on {threads} threads, measured just now")

    def bind(self, device: str, logical: Sequence[str]) -> Mapping[str, str]:
        if device != "cpu":
            raise Unavailable(f"there is no device '{device}': all logical devices are parts of the one cpu")
        return dict.fromkeys(logical, "cpu")

    def load(
        self, program: Graph, bound: Mapping[str, str], threads: int | None = None, progress: Progress = silent
    ) -> Executable:
        from alexdsl_cpu.runtime import CpuExecutable

        return CpuExecutable(program, threads, progress)
