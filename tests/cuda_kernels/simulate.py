"""Runs all cases in Numba's simulator, and prints as JSON what is wrong with which, for the test of the meaning."""

from __future__ import annotations

import json

from alexdsl_cuda import backend

from tests.backends.chains import Target
from tests.cuda_kernels.cases import every

SIMULATOR = Target(backend, "sim")
SLOW = ("4100", "96x96", "160x2x3", "256 places", "300", "losses", "topk")
"""Names of cases with more threads than are worth a thread each here."""


def main() -> None:
    """Run them all."""
    wrong = {}
    for name, (chain, arrays) in every().items():
        if any(part in name for part in SLOW):
            continue
        try:
            chain.check(SIMULATOR, arrays)
        except (AssertionError, RuntimeError) as error:
            wrong[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(wrong))


main()
