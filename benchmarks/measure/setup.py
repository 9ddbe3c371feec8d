"""What every measurement shares: two threads, one BLAS thread inside parallel loops, seeded data."""

import os

os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_THREADING_LAYER", "omp")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

torch.set_num_threads(2)
FLAGS = {"fastmath": True, "error_model": "numpy", "boundscheck": False}
_rng = np.random.default_rng(0)


def normal(*shape: int) -> NDArray[np.float32]:
    return _rng.standard_normal(shape, dtype=np.float32)


def one_blas_thread() -> None:
    """NumPy and SciPy bring a pool each; limit both, leave OpenMP (Numba, torch) alone."""
    threadpool_limits(1, user_api="blas")


def blas_threads(count: int) -> threadpool_limits:
    return threadpool_limits(count, user_api="blas")
