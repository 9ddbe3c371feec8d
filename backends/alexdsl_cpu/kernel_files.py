"""The kernel files of the CPU backend. Kernels for a new layer kind are a file beside this one and a line below."""

from __future__ import annotations

from alexdsl_cpu.conv import Conv
from alexdsl_cpu.linear import Linear
from alexdsl_cpu.sgd import Sgd
from alexdsl_cpu.structure import Structure

KERNEL_FILES = (
    Conv,
    Linear,
    Sgd,
    Structure,
)
