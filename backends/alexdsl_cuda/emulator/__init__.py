"""An emulator of PTX: runs what a CUDA compiler made on this machine's processor, fast (``launch``) or checked.

    module = Module(ptx)
    launch(module, "kernel", grid, block, [x.ctypes.data, y.ctypes.data, count])

    memory = Memory()
    x, y = memory.array(1000, "float32", "x"), memory.array(1000, "float32", "y")
    memory.mark_written(x)
    print(check(module, "kernel", grid, block, [x.ctypes.data, y.ctypes.data, count], memory))

Arithmetic is IEEE's, fused multiply-adds round once, and approximations are rounded correctly; see ``ops/floats.py``. A
kernel that loops for ever does so here too.
"""

from __future__ import annotations

from alexdsl_cuda.emulator.check import check
from alexdsl_cuda.emulator.launch import KernelInfo, LaunchError, Module, launch
from alexdsl_cuda.emulator.memory import Memory
from alexdsl_cuda.emulator.ptx import PtxError
from alexdsl_cuda.emulator.report import Access, Counts, Finding, Report

__all__ = [
    "Access", "Counts", "Finding", "KernelInfo", "LaunchError", "Memory", "Module", "PtxError", "Report", "check",
    "launch",
]  # fmt: skip
