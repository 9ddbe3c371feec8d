"""The CUDA backend: its kernel files put together, their calls as launches, and the loading of programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from alexdsl.ir.backend import Executable, Gap, Progress, Rates, Strategy, Unavailable, silent
from alexdsl.ir.graph import Graph, Launch, Op
from alexdsl.ir.host import machine_memory
from alexdsl.ir.offers import OfferedBackend
from alexdsl.ir.protocol import Types
from alexdsl_cuda import probe, views
from alexdsl_cuda.dialect import CUDA
from alexdsl_cuda.driver import Driver
from alexdsl_cuda.kernel_files import KERNEL_FILES
from alexdsl_cuda.machine import machine, machines
from alexdsl_cuda.offer import MOST_ELEMENTS, Call

CHECKED = "emu:checked"
"""The emulator, looking at every access."""
IMAGINED = ("sim", "emu", CHECKED)
"""Devices that need no GPU: Numba's simulator, and the emulator of PTX."""


class CudaBackend(OfferedBackend[Call]):
    """Numba kernels for CUDA."""

    name = "cuda"
    devices = ("cuda", "sim", "emu")
    imagined = IMAGINED
    prefetches = True
    forms = views.FORMS
    cards = machines()
    dialect = CUDA
    files = KERNEL_FILES

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        for type in (*operands, *results):
            if type.elements > MOST_ELEMENTS:
                raise Gap(
                    f"the cuda backend has no kernel for '{op.kind}' (%{op.name}) of {type}: it counts in 32 bits"
                )
        return super().strategies(op, operands, results)

    def launch(self, call: Call, kernels: dict[str, str]) -> Launch:
        name = self.rendered(call.function, call.constants, kernels)
        params = tuple(annotation for _, annotation in call.function.parameters)
        return Launch(name, tuple(call.args), {"grid": call.grid, "block": call.block, "params": params})

    def show(self, program: Graph, kernel: str, form: str, card: str) -> str:
        return views.code(program.kernels[kernel], form, machine(card))

    def resources(self, program: Graph, op: Op, launch: Launch, card: str) -> Mapping[str, str]:
        return views.resources(program, op, launch, self.registry, machine(card))

    def memory(self, real: str) -> int:
        return machine_memory() if real in IMAGINED else probe.gpus()[int(real.removeprefix("cuda:"))].memory

    def rates(self, real: str) -> Rates | None:
        if real in IMAGINED:
            return None
        name = probe.gpus()[int(real.removeprefix("cuda:"))].name
        card = next((machine(m) for m in machines() if machine(m).name.split()[0] in name), None)
        return Rates(card.rate("fp32"), card.bandwidth, f"the figures of {card.name}") if card else None

    def bind(self, device: str, logical: Sequence[str]) -> Mapping[str, str]:
        if device in IMAGINED:
            return dict.fromkeys(logical, device)
        gpus = probe.gpus()
        if device == self.name:
            return {name: f"cuda:{i % len(gpus)}" for i, name in enumerate(logical)}
        number = device.removeprefix("cuda:")
        if not number.isdigit() or int(number) >= len(gpus):
            names = ", ".join(f"cuda:{i} ({gpu.name})" for i, gpu in enumerate(gpus))
            raise Unavailable(f"there is no device '{device}' here, only {names}")
        return dict.fromkeys(logical, device)

    def load(
        self, program: Graph, bound: Mapping[str, str], threads: int | None = None, progress: Progress = silent
    ) -> Executable:
        if set(bound.values()) == {CHECKED}:
            from alexdsl_cuda.checked import CheckedExecutable

            return CheckedExecutable(program, bound, progress)
        from alexdsl_cuda.runtime import CudaExecutable

        return CudaExecutable(program, _driver(set(bound.values()), threads), bound, progress)


def _driver(devices: set[str], threads: int | None) -> Driver:
    """What drives these devices. Raises Unavailable."""
    if devices & set(IMAGINED) and len(devices) > 1:
        raise Unavailable(f"{' and '.join(sorted(devices))} cannot run one net together")
    if devices == {"sim"}:
        if "numba" not in sys.modules:
            os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
        from alexdsl_cuda.simulator import Simulator

        return Simulator()
    if devices == {"emu"}:
        from alexdsl_cuda.emulated import Emulated

        return Emulated(threads)
    from alexdsl_cuda.gpu import Gpus

    return Gpus()
