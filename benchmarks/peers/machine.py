"""What the machine does by itself: sgemm of the BLAS that alexdsl calls, or reading memory. Tells how much it is."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.linalg.blas import sgemm
from threadpoolctl import threadpool_limits

from benchmarks.turns import serve

SIDE = 3072
"""Rows and columns of the matrices."""
BYTES = 1 << 28
"""What every thread reads: more than caches hold."""


def main() -> None:
    """Serve products, or reads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("sgemm", "reads"))
    args = parser.parse_args()
    threads, random = len(os.sched_getaffinity(0)), np.random.default_rng(0)
    if args.what == "sgemm":
        # In BLAS's own order, in which nothing is copied.
        a, b, c = (np.asfortranarray(random.standard_normal((SIDE, SIDE), np.float32)) for _ in range(3))
        with threadpool_limits(threads, user_api="blas"):
            serve(lambda: sgemm(1, a, b, 0, c, overwrite_c=1), amount=2 * SIDE**3)
        return
    blocks = [random.standard_normal(BYTES // 4, np.float32) for _ in range(threads)]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        serve(lambda: list(pool.map(lambda x: np.dot(x, x), blocks)), amount=threads * BYTES)


if __name__ == "__main__":
    main()
