"""Fully connected layers on the CPU: their strategies, and the choice between them by their costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import OpKind, Registry, Types
from alexdsl_cpu.linear import blas, dots, in_place, registers
from alexdsl_cpu.linear.sizes import Sizes, sizes_of
from alexdsl_cpu.offer import Call, Offer, is_tail
from alexdsl_cpu.sgd import Sgd

WAYS = (blas, dots, in_place, registers)
CALLS: Mapping[str, Callable[[Op, Sizes, Registry], Sequence[Call]]] = {way.NAME: way.calls for way in WAYS}


class Linear(Offer):
    """``linear`` and its two gradients; an epilogue takes elementwise kinds, with at most one further operand. A
    weight's gradient may go into momentum's update at once, so that it is never written."""

    heads = ("linear", "linear_input_grad", "linear_weight_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        if chain[0].name == "linear_weight_grad":
            return not keeps and len(chain) == 2 and chain[1].name in Sgd.heads
        # A gradient of maps leaves in rows while what follows wants channels last: only flat values take an epilogue.
        return not keeps and chain[0].name == "linear" and is_tail(chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        return [""] * len(operands), [""] * len(results)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return strategies(sizes_of(op, operands, results))

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        return calls(op, sizes_of(op, operands, results), self.registry)


def strategies(sizes: Sizes) -> Sequence[Strategy]:
    return tuple(offered for way in WAYS for offered in way.strategies(sizes))


def calls(op: Op, sizes: Sizes, registry: Registry) -> Sequence[Call]:
    """The kernel call of a linear layer's op, or of one that is a linear layer's in all but name."""
    return CALLS[op.attrs["strategy"]](op, sizes, registry)
