"""Runs cases in Numba's simulator, and prints as JSON what is wrong with which, for the test of the meaning."""

from __future__ import annotations

import json
import sys

from alexdsl_cuda import backend

from tests.backends.chains import Target
from tests.cuda_kernels.cases import every

SIMULATOR = Target(backend, "sim")
SLOW = ("4100", "96x96", "160x2x3", "256 places", "300", "losses", "topk")
"""Names of cases with more threads than are worth a thread each here."""


def main(parts: list[str]) -> None:
    """Run those whose names have one of these parts; all, if none is given."""
    cases = every()
    missing = [part for part in parts if not any(part in name for name in cases)]
    wrong = dict.fromkeys(missing, "no such case")
    for name, (chain, arrays) in cases.items():
        if any(part in name for part in SLOW) or (parts and not any(part in name for part in parts)):
            continue
        try:
            chain.check(SIMULATOR, arrays)
        except (AssertionError, RuntimeError) as error:
            wrong[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(wrong))


main(sys.argv[1:])
