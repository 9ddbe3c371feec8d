"""What CUDA kernels are written in: names of argument types for their annotations, and how their source is framed.

Kernels are compiled by numba-cuda, but this module, which they import, is plain Python: nothing here needs a compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

F1: TypeAlias = Any
"""float32 arrays, flat: kernels do their own index arithmetic, which keeps it in 32 bits."""
Function: TypeAlias = Callable[..., Any]
"""A scalar function among a kernel's constants."""

U1: TypeAlias = Any
"""uint8 arrays; I1 is int32, L1 is int64."""
I1: TypeAlias = Any
L1: TypeAlias = Any

SIGNATURES: Mapping[str, str] = {
    "F1": "float32[::1]",
    "U1": "uint8[::1]",
    "I1": "int32[::1]",
    "L1": "int64[::1]",
    "int": "int32",
    "float": "float32",
}

cuda: Any = None
"""In compiled kernels ``numba.cuda``: the thread's place in the grid, shared memory, barriers."""
float32 = float
int32 = int
"""In compiled kernels the types: Numba widens int32 arithmetic unless the whole expression is an ``int32(...)``."""
uint32 = int
uint64 = int
uint8 = int


class CudaDialect:
    """Plain functions beside their signature; the compiler decides for which processor they are compiled."""

    imports = """import math

from alexdsl_cuda.intrinsics import *
from alexdsl_cuda.window_intrinsics import *
from numba import cuda, float32, int32, uint8, uint32, uint64"""
    functions: Mapping[str, str] = {
        "exp": "math.exp", "tanh": "math.tanh", "sqrt": "math.sqrt", "log": "math.log", "abs": "abs",
    }  # fmt: skip

    def kernel_decorator(self, annotations: Sequence[str]) -> str:
        """No decorator, which would ask for a device at once, but the signature as a constant above the function."""
        signature = ", ".join(SIGNATURES[a] for a in annotations)
        return f'SIGNATURE = "void({signature})"\n\n'

    def helper_decorator(self) -> str:
        # Inlined, because a call of a device function asks for a device even where nothing is run.
        return '@cuda.jit(device=True, inline="always")'

    def number(self, value: float) -> str:
        return f"float32({value!r})"


CUDA = CudaDialect()
