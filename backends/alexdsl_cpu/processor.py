"""The vectors of this machine's processor: how many float32 numbers one has, and in how many registers they fit."""

from __future__ import annotations

import os
from pathlib import Path


def _has_avx512() -> bool:
    """As NUMBA_CPU_FEATURES has it, where Numba is told to compile for another processor than this one."""
    told = os.environ.get("NUMBA_CPU_FEATURES")
    if told is not None:
        return "+avx512f" in told
    try:
        return " avx512f " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


LANES, REGISTERS = (16, 32) if _has_avx512() else (8, 16)
"""AVX-512's, or AVX2's; a processor with shorter vectors takes several registers for one."""
