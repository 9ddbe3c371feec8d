"""Convolution on the CPU: its strategies, and the choice between them by their costs."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cpu import linear
from alexdsl_cpu.conv import direct, dots, in_place, phases, winograd
from alexdsl_cpu.conv.shape import Shape, shape_of
from alexdsl_cpu.linear.sizes import Sizes
from alexdsl_cpu.offer import FILTERS, MAPS, Call, Offer, is_tail


class Conv(Offer):
    """``conv`` and its two gradients; an epilogue takes elementwise kinds, with at most one further operand."""

    heads = ("conv", "conv_input_grad", "conv_weight_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name != "conv_weight_grad" and is_tail(chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        head = op.kind.split("+")[0]
        given = [MAPS if len(t.shape) == 4 else "" for t in operands]
        weight = {"conv": 1, "conv_input_grad": 0}.get(head)
        if weight is not None:
            given[weight] = FILTERS
        made = [FILTERS, ""][: len(results)] if head == "conv_weight_grad" else [MAPS]
        return given, made

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        shape = shape_of(op, operands, results)
        if (sizes := _whole(shape)) is not None:
            return linear.strategies(sizes)
        plain = (*direct.strategies(shape, results), *dots.strategies(shape), *in_place.strategies(shape))
        return (*plain, *phases.strategies(shape), *winograd.strategies(shape))

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        shape = shape_of(op, operands, results)
        if (sizes := _whole(shape)) is not None:
            return linear.calls(op, sizes, self.registry)
        if op.attrs["strategy"] == direct.NAME:
            return direct.calls(op, shape, results, self.registry)
        if op.attrs["strategy"] == dots.NAME:
            return dots.calls(op, shape, self.registry)
        if op.attrs["strategy"] == in_place.NAME:
            return in_place.calls(op, shape, self.registry)
        if op.attrs["strategy"] == phases.NAME:
            return phases.calls(op, shape, self.registry)
        return winograd.calls(op, shape, self.registry)


def _whole(shape: Shape) -> Sizes | None:
    """The linear layer that a convolution is whose only window is the whole image."""
    if shape.groups > 1 or any(a.out > 1 or a.before > 0 or a.kernel != a.size for a in (shape.rows, shape.columns)):
        return None
    return Sizes(shape.head.replace("conv", "linear"), shape.images, shape.window, shape.filters)
