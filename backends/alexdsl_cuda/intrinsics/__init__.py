"""What compiled CUDA kernels call beyond Numba's own: 128-bit memory accesses, and products kept in registers.

Numba's indexing wraps negative indices, widens to 64 bits and moves a float at a time; in an inner loop that is most
of the work. Here an access is one instruction at ``array + at``. Four neighbouring floats are a quad. Registers are
``cuda.local.array``s which nothing but these functions touches, always at places known when compiling.

Every function is written twice: in Python, which says what it means and is what the simulator runs, and as the code
that it is compiled to. Capital parameters are constants: names of numbers in the kernel's source, never expressions.
"""

from __future__ import annotations

from numba import complex128, cuda, float32, int32, int64, uint32

from alexdsl_cuda.intrinsics.around import fetch_around, take_around
from alexdsl_cuda.intrinsics.copies import address, commit_copies, copy_quads, stay_rolled, wait_for_copies
from alexdsl_cuda.intrinsics.memory import (
    fetch,
    load_quad,
    put,
    put_columns,
    put_quad,
    refetch,
    store_pair,
    store_quad,
    take,
)
from alexdsl_cuda.intrinsics.outer import multiply
from alexdsl_cuda.intrinsics.registers import clear, inverse_root, quotient, root, shift
from alexdsl_cuda.intrinsics.tensor import give_pairs, halve, multiply_halves, take_pairs
from alexdsl_cuda.intrinsics.windows import fetch_on, multiply_windows

__all__ = [
    "address", "clear", "commit_copies", "copy_quads", "cuda", "fetch", "fetch_around", "fetch_on", "float32",
    "give_pairs", "halve", "int32", "int64", "inverse_root", "load_quad", "multiply", "multiply_halves",
    "multiply_windows", "put", "put_columns", "put_quad", "quad", "quotient", "refetch", "root", "shift", "stay_rolled",
    "store_pair", "store_quad", "take", "take_around", "take_pairs", "uint32", "wait_for_copies",
]  # fmt: skip

quad = complex128
"""The type of shared arrays: sixteen bytes, because that is what an array's elements are aligned to."""
