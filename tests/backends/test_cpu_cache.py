"""Kernels that a process compiled and kernels that it found compiled are the same machine code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import hashlib, numpy as np, alexdsl
program = alexdsl.compile(alexdsl.load("specs/lenet5.net", set={"data.batch": "8"}), "cpu", threads=2)
random, digest = np.random.default_rng(0), hashlib.sha256()
for _ in range(3):
    program.step(random.normal(size=(8, 1, 32, 32)).astype(np.float32), random.integers(0, 10, 8))
for name, array in sorted(program.weights.items()):
    digest.update(array.tobytes())
print(digest.hexdigest())
"""


def test_the_first_process_computes_what_others_do(tmp_path: Path) -> None:
    """A helper that is not inlined exists twice where it is compiled, once by itself, and once with its kernel."""
    env = {**os.environ, "ALEXDSL_CACHE": str(tmp_path)}
    made = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=env)
        made.append(run.stdout)
        assert list(tmp_path.rglob("*.nbc"))
    assert made[0] == made[1]
