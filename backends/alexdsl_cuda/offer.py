"""What a CUDA kernel file offers: ops and fusions, layouts, strategies, and how its kernels are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import KernelFunction, Scalar
from alexdsl.ir.protocol import OpKind, Types

Constants: TypeAlias = Mapping[str, int | float | bool | Scalar]

THREADS = 256
"""Threads of a block where a kernel has no reason to ask for another number."""
MOST_ELEMENTS = 2**31 - THREADS
"""Elements that an array may have: kernels index in 32 bits, and the last block's threads count beyond the end."""


@dataclass(frozen=True)
class Call:
    """One kernel call of an op: the function, its constants, its arguments, and how many blocks of how many threads.

    Arguments are ``"%name"`` for arrays, ``"workspace"``, and numbers.
    """

    function: KernelFunction
    args: Sequence[str | int | float]
    grid: tuple[int, int, int]
    constants: Constants = field(default_factory=dict)
    block: tuple[int, int, int] = (THREADS, 1, 1)


class Offer:
    """Kernels for the op kinds in ``heads`` and for chains that begin with them."""

    heads: Sequence[str] = ()

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        """Whether a kernel computes the whole chain; see ``Backend.fuses``."""
        return False

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        """The layouts of operands and results: row-major in the logical order."""
        return [""] * len(operands), [""] * len(results)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        """The ways of computing an op."""
        raise NotImplementedError

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        """The kernel calls of an op under its chosen strategy."""
        raise NotImplementedError


def blocks(threads: int) -> tuple[int, int, int]:
    """A grid of blocks for so many threads in a row."""
    return (-(-threads // THREADS), 1, 1)
