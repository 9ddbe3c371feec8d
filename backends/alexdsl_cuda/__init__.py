"""The CUDA backend of alexdsl: Numba kernels for NVIDIA's processors. Convolution forward is all it has yet."""

from __future__ import annotations

from alexdsl.ir.protocol import Registry
from alexdsl_cuda.backend import CudaBackend


def backend(registry: Registry) -> CudaBackend:
    """The backend for the kinds of a registry; importing it imports no compiler of kernels."""
    return CudaBackend(registry)
