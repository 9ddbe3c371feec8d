"""What convolution and linear layers share: weight and bias, gradients by two more products, how towers divide them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.parameters import value_text
from alexdsl.ir.protocol import PARTIAL, WHOLE, Cut, Emitter, LayerKind, OpKind, Types
from alexdsl.layers.input_grad import InputGrad


def _shared(attrs: Attrs, width: str, towers: int) -> Attrs:
    """The attributes of a tower's share, which has its part of the outputs."""
    return {**attrs, width: attrs[width] // towers}


class Product(LayerKind):
    """A layer whose output is a product with its weight; ``width`` is the parameter that counts its outputs."""

    width: ClassVar[str]
    weight_roles = ("weight", "bias")
    needs = ("input", "weights")
    sees = True

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return ([WHOLE if attrs["sees"] == "all" else 1, 0, 0][: len(types)], [1])

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return _shared(attrs, self.width, towers)

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        # Towers that see their own maps and groups are two ways of writing one thing.
        towers, groups = attrs.get("towers", 1), attrs.get("groups", 1)
        within = f"one of {groups} groups in all of the input" if towers > 1 and groups > 1 else ""
        parts = groups if attrs.get("sees") == "all" else towers * groups
        seen = within if within and attrs["sees"] == "all" else f"its own one of {parts} parts of the input"
        return {
            self.width: value_text(attrs[self.width]),
            "an output sees": "all of the input" if parts == 1 else seen,
            "biases": "yes" if attrs["bias"] else "none",
        }

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        x, *weights = op.operands
        found: list[str | None] = [None] * len(op.operands)
        if any(wanted[1:]):
            found[1:] = emit.emit(f"{self.name}_weight_grad", (x, dy), op.attrs, names=[f"{w}.grad" for w in weights])
        if wanted[0]:
            attrs = {**op.attrs, "input": emit.type(x).shape}
            found[:1] = emit.emit(f"{self.name}_input_grad", (weights[0], dy), attrs, names=[f"{x}.grad"])
        return found


class ProductInputGrad(InputGrad):
    """The gradient of a product's input, from its weight and its output's gradient."""

    width: ClassVar[str]

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [0, 1], [PARTIAL if attrs["sees"] == "all" else 1]

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return _shared(super().tower_attrs(attrs, towers, tower), self.width, towers)


class ProductWeightGrad(OpKind):
    """The gradients of a product's weight and bias, from its input and its output's gradient."""

    width: ClassVar[str]
    first_stage = "differentiated"

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [WHOLE if attrs["sees"] == "all" else 1, 1], [0, 0] if attrs["bias"] else [0]

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return _shared(attrs, self.width, towers)
