"""Parameters of Numba's kernels by value, as the emulator takes them where their PTX types are known to it alone."""

from __future__ import annotations

import numpy as np
from alexdsl_cuda.abi import words

from tests.cuda_emulator.ptx_text import Array


def arguments(*values: Array | int | float) -> list[int | float]:
    """What contiguous arrays, of which kernels see one axis, and numbers become in a kernel of Numba's."""
    found: list[int | float] = []
    for value in values:
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            found += words(value.ctypes.data, value.size, value.itemsize)
        else:
            found.append(value)
    return found
