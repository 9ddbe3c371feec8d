"""The device ``emu``: the kernels' real PTX, run on this machine's processor by the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alexdsl_cuda import emulator
from alexdsl_cuda.abi import pack
from alexdsl_cuda.compiler import compile_ptx
from alexdsl_cuda.driver import Argument, Prepared, Stream
from alexdsl_cuda.memory_driver import MemoryDriver

CAPABILITY = (8, 0)
"""What kernels are compiled for: all that they use is there from Ampere on."""


@dataclass(frozen=True)
class _Launch:
    module: emulator.Module
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    params: bytes


class Emulated(MemoryDriver):
    """Runs kernels in the emulator, blocks of a grid on so many host ``threads`` (all of the machine's)."""

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self._threads = threads
        self._modules: dict[str, emulator.Module] = {}

    def prepare(
        self, device: str, kernel: str, source: str, grid: tuple[int, int, int], block: tuple[int, int, int],
        args: Sequence[Argument],
    ) -> Prepared:  # fmt: skip
        if kernel not in self._modules:
            self._modules[kernel] = emulator.Module(compile_ptx(source, CAPABILITY))
        return _Launch(self._modules[kernel], grid, block, pack(args))

    def launch(self, stream: Stream, prepared: Prepared) -> None:
        emulator.launch(
            prepared.module, "kernel", prepared.grid, prepared.block, prepared.params, threads=self._threads
        )
