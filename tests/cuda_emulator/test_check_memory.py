"""What a checked run holds: memory for what its blocks touch, and nothing when it is over."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import numpy as np
from alexdsl_cuda import emulator
from alexdsl_cuda.emulator import Memory

from tests.cuda_emulator.ptx_text import Array, kernel, place

DOUBLE = (
    place("x", 4)
    + "ld.global.f32 fa, [%at]; add.f32 fa, fa, fa;\n"
    + place("y", 4)
    + "st.global.f32 [%at], fa;\n  ret;"
)
"""y = 2 x, 128 numbers."""
MEASURE = """
import re
from pathlib import Path
import numpy as np
from alexdsl_cuda.emulator import Memory
from tests.cuda_emulator.test_check_memory import check_in

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def check_of(size):
    memory = Memory()
    x, y = np.zeros(size, np.float32), np.zeros(size, np.float32)
    memory.add(x, written=False)
    memory.add(y, written=False)
    memory.mark_written(x[:128])
    assert not check_in(memory, x, y).findings

check_of(128)  # the emulator compiled, the log allocated: what any check needs
before = peak()
check_of(1 << 27)
print(peak() - before)
"""


def check_in(memory: Memory, x: Array, y: Array) -> emulator.Report:
    """Checks the kernel, whose module has a variable as all of Numba's have."""
    text = kernel(DOUBLE, [".param .u64 x", ".param .u64 y"], head=".visible .global .align 8 .u64 environment;\n")
    module = emulator.Module(text)
    return emulator.check(module, "k", (1, 1, 1), (128, 1, 1), [x.ctypes.data, y.ctypes.data], memory)


def test_untouched_memory_costs_nothing() -> None:
    out = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout
    # Two arrays of 512 MiB, and a flag for each of their bytes.
    assert int(out) < 64 << 20


def test_a_check_holds_nothing_when_it_is_over() -> None:
    # The first may hold what it called Numba's compiler with.
    _held()
    gc.disable()
    try:
        assert _held()() is None
    finally:
        gc.enable()


def _held() -> weakref.ref[Memory]:
    """The memory of a check that is over."""
    memory = Memory()
    x, y = memory.array(128, np.float32), memory.array(128, np.float32)
    memory.mark_written(x)
    assert not check_in(memory, x, y).findings
    return weakref.ref(memory)
