"""The CPU backend of alexdsl: Numba kernels, BLAS products per tile, and a small runtime."""

from __future__ import annotations

from alexdsl.ir.protocol import Registry
from alexdsl_cpu.backend import CpuBackend


def backend(registry: Registry) -> CpuBackend:
    """The backend for the kinds of a registry; importing it imports no compiler of kernels."""
    return CpuBackend(registry)
