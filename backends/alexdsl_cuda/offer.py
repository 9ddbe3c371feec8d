"""What a CUDA kernel file builds on: how its kernels are called, and what all kernel files share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from alexdsl.ir import offers
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import KernelFunction, Scalar
from alexdsl.ir.layouts import FILTERS, MAPS, physical, place_of, rows_of, starts, stride_of
from alexdsl.ir.offers import (
    Args,
    Constants,
    extras,
    head_attrs,
    is_tail,
    retyped,
    scalars,
    tail_of,
    whole_chain,
    with_extra,
)
from alexdsl.ir.protocol import Registry
from alexdsl_cuda.dialect import CUDA

__all__ = [
    "FILTERS", "MAPS", "MOST_ELEMENTS", "THREADS", "Args", "Call", "Constants", "Offer", "blocks", "extras",
    "head_attrs", "is_tail", "physical", "place_of", "retyped", "rows_of", "scalars", "starts", "stride_of",
    "tail", "whole_chain", "with_extra",
]  # fmt: skip

THREADS = 256
"""Threads of a block where a kernel has no reason to ask for another number."""
MOST_ELEMENTS = 2**31 - THREADS
"""Elements that an array may have: kernels index in 32 bits, and the last block's threads count beyond the end."""


@dataclass(frozen=True)
class Call:
    """One kernel call of an op: the function, its constants, its arguments, and how many blocks of how many threads."""

    function: KernelFunction
    args: Args
    grid: tuple[int, int, int]
    constants: Constants = field(default_factory=dict)
    block: tuple[int, int, int] = (THREADS, 1, 1)


Offer: TypeAlias = offers.Offer[Call]


def tail(op: Op, registry: Registry, heads: int = 1) -> Scalar:
    """The scalar function of all members after the head (the first ``heads``); the identity where there are none."""
    return tail_of(op, registry, CUDA, heads)


def blocks(threads: int) -> tuple[int, int, int]:
    """A grid of blocks for so many threads in a row."""
    return (-(-threads // THREADS), 1, 1)
