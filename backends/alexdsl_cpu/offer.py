"""What a CPU kernel file builds on: how its kernels are called, and what all kernel files share."""

from __future__ import annotations

import os
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
from alexdsl_cpu.dialect import CPU

__all__ = [
    "FILTERS", "MAPS", "SLOTS", "Args", "Call", "Constants", "Offer", "extras", "head_attrs", "is_tail", "padded",
    "per_worker", "physical", "place_of", "retyped", "rows_of", "scalars", "starts", "stride_of",
    "tail", "whole_chain", "with_extra",
]  # fmt: skip

SLOTS = len(os.sched_getaffinity(0))
"""Workers that may run at once; each has its own part of a workspace."""


@dataclass(frozen=True)
class Call:
    """One kernel call of an op: the function, its constants, its arguments and how many units of work it has.

    The units' range and the worker come before the arguments. Every unit writes what no other unit writes or reads, so
    that their order and the number of workers do not matter.
    """

    function: KernelFunction
    args: Args
    units: int
    constants: Constants = field(default_factory=dict)
    grain: int = 1
    """Units that are worth a call of their own."""


Offer: TypeAlias = offers.Offer[Call]


def tail(op: Op, registry: Registry, heads: int = 1) -> Scalar:
    """The scalar function of all members after the head (the first ``heads``); the identity where there are none."""
    return tail_of(op, registry, CPU, heads)


def per_worker(count: int) -> int:
    """Bytes of a workspace with ``count`` float32 numbers for each worker."""
    return 4 * SLOTS * padded(count)


def padded(count: int) -> int:
    """``count`` float32 numbers rounded up to whole cache lines."""
    return -(-count // 16) * 16
