"""The CPU's kernels as a processor with AVX2 has them, whatever this one has: shorter vectors, fewer registers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alexdsl_cpu.processor import LANES

HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+avx,+sse4.2,+sse4.1,+ssse3,+sse3,+popcnt,+f16c,+lzcnt,+movbe",
}
CONV, LINEAR = (f"test_every_strategy_of_a_{layer}_is_the_reference" for layer in ("convolution", "linear_layer"))
SOME = (
    f"{CONV}[strides-in_place]", f"{CONV}[uneven pads-winograd5]", f"{CONV}[five taps-winograd3]",
    f"{LINEAR}[sizes2-registers]", f"{LINEAR}[sizes2-dots]", f"{LINEAR}[sizes4-in_place]",
)  # fmt: skip


@pytest.mark.skipif(LANES == 8, reason="all other tests are of kernels for AVX2 here")
def test_kernels_for_avx2_are_the_reference() -> None:
    tests = Path(__file__).with_name("test_cpu_strategies.py")
    chosen = [f"{tests}::{name}" for name in SOME]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *chosen]
    environment = {**os.environ, **HASWELL}
    lanes = [sys.executable, "-c", "from alexdsl_cpu.processor import LANES; print(LANES)"]
    assert subprocess.run(lanes, env=environment, capture_output=True, text=True, check=True).stdout == "8\n"
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-3000:]
    assert f"{len(SOME)} passed" in found.stdout
