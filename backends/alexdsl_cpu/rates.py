"""How fast this machine is by itself: multiplying in BLAS, and moving memory, on so many threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

SIDE = 768
"""Rows and columns of the matrices: large enough for BLAS at its best, small enough for a moment."""
BYTES = 1 << 26
SECONDS = 0.3


def measured(threads: int) -> tuple[float, float]:
    """Multiply-adds per second of sgemm, one product a thread, and bytes per second read and written by copies."""
    random = np.random.default_rng(0)
    pairs = [[random.standard_normal((SIDE, SIDE), np.float32) for _ in range(3)] for _ in range(threads)]
    blocks = [(np.ones(BYTES, np.uint8), np.ones(BYTES, np.uint8)) for _ in range(threads)]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:

        def rate(work: Callable[[int], object], amount: float) -> float:
            rounds, begun, best = 0, perf_counter(), float("inf")
            while perf_counter() - begun < SECONDS or rounds < 3:
                start = perf_counter()
                list(pool.map(work, range(threads)))
                best = min(best, perf_counter() - start)
                rounds += 1
            return threads * amount / best

        products = rate(lambda i: np.matmul(pairs[i][0], pairs[i][1], out=pairs[i][2]), SIDE**3)
        copies = rate(lambda i: np.copyto(blocks[i][1], blocks[i][0]), 2 * BYTES)
    return products, copies
