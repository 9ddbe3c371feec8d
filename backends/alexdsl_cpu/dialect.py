"""What CPU kernels are written in: names of argument types for their annotations, and how their source is framed.

Kernels are compiled by Numba, but this module, which they import, is plain Python: nothing here needs a compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from alexdsl_cpu.processor import LANES as LANES

F1: TypeAlias = Any
"""float32 arrays of one to four axes, contiguous: F1, F2, F3, F4."""
F2: TypeAlias = Any
F3: TypeAlias = Any
F4: TypeAlias = Any
U1: TypeAlias = Any
"""uint8 arrays."""
U3: TypeAlias = Any
U4: TypeAlias = Any
I1: TypeAlias = Any
"""int32 arrays; L1 is int64."""
I4: TypeAlias = Any
L1: TypeAlias = Any
Function: TypeAlias = Callable[..., Any]
"""A scalar function among a kernel's constants."""

SIGNATURES: Mapping[str, str] = {
    "F1": "float32[::1]",
    "F2": "float32[:,::1]",
    "F3": "float32[:,:,::1]",
    "F4": "float32[:,:,:,::1]",
    "U1": "uint8[::1]",
    "U4": "uint8[:,:,:,::1]",
    "I1": "int32[::1]",
    "I4": "int32[:,:,:,::1]",
    "L1": "int64[::1]",
    "int": "int64",
    "float": "float32",
}


def sgemm(
    ta: int, tb: int, m: int, n: int, k: int, alpha: float, a: Any, lda: int, b: Any, ldb: int, beta: float, c: Any,
    ldc: int,
) -> None:  # fmt: skip
    """c[m, n] = alpha op(a)[m, k] op(b)[k, n] + beta c, row-major, leading dimensions in elements; ``ta``, ``tb`` are
    N or T. ``alexdsl_cpu.intrinsics`` holds the compiled one."""
    raise NotImplementedError("sgemm exists in compiled kernels only")


def fill(number: float) -> Any:
    """A vector of ``LANES`` equal numbers. Vectors are added, subtracted and multiplied, by numbers too;
    ``alexdsl_cpu.vectors`` holds the compiled ones."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def load(array: Any, at: int) -> Any:
    """The vector from place ``at`` on; nobody checks that it is there."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def load_some(array: Any, at: int, count: int) -> Any:
    """Its first ``count`` numbers, then zeros."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def store(array: Any, at: int, value: Any) -> None:
    """Put a vector into the array from place ``at`` on."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def stream(array: Any, at: int, value: Any) -> None:
    """Put a vector past the caches, which would else read what is there first: for much that is not soon read. The
    place is a multiple of ``LANES`` numbers in memory."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def store_some(array: Any, at: int, value: Any, count: int) -> None:
    """Put the vector's first ``count`` numbers."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def prefetch(array: Any, at: int) -> None:
    """Have the cache line with place ``at`` brought near, if there is one."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def transpose(array: Any, at: int, apart: int, target: Any, to: int, target_apart: int) -> None:
    """target[to + j target_apart + i] = array[at + i apart + j], for i and j below ``LANES``."""
    raise NotImplementedError("vectors exist in compiled kernels only")


def total(value: Any) -> float:
    """The sum of a vector's numbers."""
    raise NotImplementedError("vectors exist in compiled kernels only")


N, T = ord("N"), ord("T")
f32 = float
"""In compiled kernels a float32, so that literals do not turn arithmetic into float64."""


class CpuDialect:
    """Numba's ``njit``, without the GIL, with the float rules that keep NaN and infinities honest."""

    imports = """import math

import numpy as np
from numba import njit

from alexdsl_cpu.intrinsics import N, T, f32, sgemm, tanh
from alexdsl_cpu.vectors import LANES, fill, load, load_some, prefetch, store, store_some, stream, total, transpose

FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}"""
    functions: Mapping[str, str] = {
        "exp": "math.exp", "tanh": "tanh", "sqrt": "math.sqrt", "log": "math.log", "abs": "abs",
    }  # fmt: skip

    def kernel_decorator(self, annotations: Sequence[str]) -> str:
        signature = ", ".join(SIGNATURES[a] for a in annotations)
        options = 'nogil=True, cache=True, fastmath=FAST, error_model="numpy", boundscheck=False'
        return f'@njit("void({signature})", {options})'

    def helper_decorator(self) -> str:
        # Inlined: else the process that compiles it has it twice, by itself and with the kernel, rounded differently.
        return '@njit(fastmath=FAST, error_model="numpy", boundscheck=False, forceinline=True)'

    def number(self, value: float) -> str:
        return f"f32({value!r})"


CPU = CpuDialect()
