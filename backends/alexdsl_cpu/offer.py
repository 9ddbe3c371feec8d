"""What a CPU kernel file offers: ops and fusions, their layouts and strategies, and how kernels are called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.kernels import KernelFunction, Scalar, scalar_chain
from alexdsl.ir.protocol import LayerKind, OpKind, Registry, Types
from alexdsl.ir.semantics import steps
from alexdsl.ir.types import TensorType
from alexdsl_cpu.dialect import CPU

Constants: TypeAlias = Mapping[str, int | float | bool | Scalar]
Args: TypeAlias = Sequence[str | int | float]

MAPS = "nhwc"
"""The layout of maps: channels last, so that all channels of a pixel are one run in memory."""
FILTERS = "ohwi"
"""The layout of convolution weights: a filter in the order in which im2col lays out a window."""

SLOTS = len(os.sched_getaffinity(0))
"""Workers that may run at once; each has its own part of a workspace."""


def rows_of(type: TensorType) -> str:
    """The usual layout of an activation: channels last for maps, row-major for all else."""
    return MAPS if len(type.shape) == 4 else ""


def physical(type: TensorType) -> tuple[int, ...]:
    """The shape as it lies in memory."""
    if type.layout in (MAPS, FILTERS):
        n, c, h, w = type.shape
        return (n, h, w, c)
    return type.shape


@dataclass(frozen=True)
class Call:
    """One kernel call of an op: the function, its constants, its arguments and how many units of work it has.

    Arguments are ``"%name"`` for arrays, ``"workspace"``, and numbers; the units' range and the worker come before
    them. Every unit writes what no other unit writes or reads, so that their order and the number of workers do not
    matter.
    """

    function: KernelFunction
    args: Args
    units: int
    constants: Constants = field(default_factory=dict)
    grain: int = 1
    """Units that are worth a call of their own."""


class _Retyped(KernelFunction):
    """A kernel function some of whose parameters have other types."""

    def __init__(self, function: KernelFunction, types: Mapping[str, str]) -> None:
        super().__init__(function.function)
        object.__setattr__(self, "_types", types)
        object.__setattr__(self, "_given", function.parameters)

    @property
    def parameters(self) -> Sequence[tuple[str, str]]:
        types: Mapping[str, str] = self.__dict__["_types"]
        return [(name, types.get(name, given)) for name, given in self.__dict__["_given"]]


def retyped(function: KernelFunction, **types: str) -> KernelFunction:
    """The kernel function with other annotations for these parameters."""
    return _Retyped(function, types)


class Offer:
    """Kernels for the op kinds in ``heads`` and for chains that begin with them; a head may be two kinds, ``a+b``."""

    heads: Sequence[str] = ()

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        """Whether a kernel computes the whole chain; see ``Backend.fuses``."""
        return False

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        """The layouts of operands and results."""
        return [rows_of(t) for t in operands], [rows_of(t) for t in results]

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        """The ways of computing an op."""
        return (Strategy(""),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        """The kernel calls of an op under its chosen strategy."""
        raise NotImplementedError


def head_attrs(op: Op) -> Attrs:
    """The attributes of an op's head: the first member of a chain, or the op itself."""
    return op.attrs["steps"][0]["attrs"] if "+" in op.kind else op.attrs


def tail(op: Op, registry: Registry, heads: int = 1) -> Scalar:
    """The scalar function of all members after the head (the first ``heads``); the identity where there are none."""
    members = steps(op.attrs)[heads:] if "+" in op.kind else []
    return scalar_chain([registry[m.kind] for m in members], [m.attrs for m in members], CPU)


def scalars(chain: Sequence[OpKind]) -> bool:
    """Whether all kinds are elementwise, of as many operands as their scalar functions have.

    A kind of any number of operands (``add``) is not: its scalar function speaks for two.
    """
    return all(kind.scalar is not None and not (isinstance(kind, LayerKind) and kind.inputs is None) for kind in chain)


def extras(chain: Sequence[OpKind]) -> int:
    """Operands that a chain of elementwise kinds reads beside the value that flows through it."""
    return sum(len(kind.scalar_operands) - 1 for kind in chain)


def with_extra(scalar: Scalar) -> Scalar:
    """A scalar function that takes exactly one further operand, used or not, so that one kernel serves both cases."""
    return scalar if len(scalar.args) == 2 else replace(scalar, args=(*scalar.args, "_"))


def per_worker(count: int) -> int:
    """Bytes of a workspace with ``count`` float32 numbers for each worker."""
    return 4 * SLOTS * padded(count)


def padded(count: int) -> int:
    """``count`` float32 numbers rounded up to whole cache lines."""
    return -(-count // 16) * 16
