"""Dropout (Hinton et al. 2012; Krizhevsky et al. 2012, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.parameters import Choice, Parameter, Real
from alexdsl.ir.philox import dropout_mask
from alexdsl.ir.protocol import Array, Emitter, LayerKind, OpKind, ShapeError, Types
from alexdsl.ir.types import TensorType


class Dropout(LayerKind):
    """Dropout: in training every element is 0 with probability ``p``, anew in each step.

    scale = train multiplies what remains by 1 / (1 - p), so that predicting changes nothing; scale = test leaves it
    and multiplies by 1 - p when predicting, as the paper does. An element's fate hangs on the seed, the layer's name,
    the step, the image's place in the batch and the element's place in the whole value, and on nothing else.
    """

    # Attributes beside the parameters: ``seed`` and ``stream`` key the numbers; ``first`` is the place in the global
    # batch of the first image, ``part`` = (tower, towers) the share of the whole value that the operand is.
    name = "dropout"
    parameters = (
        Parameter("p", Real(0, 1, below=True), 0.5, "how likely an element is dropped"),
        Parameter("scale", Choice(("train", "test")), "train", "when the loss of strength is made good"),
    )
    random = True

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        if not types[0].shape:
            raise ShapeError("expects a value per image, and gets a number")
        return (types[0],)

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return _tower_attrs(attrs, towers, tower)

    def predict(self, op: Op) -> Op | None:
        if op.attrs["scale"] == "train":
            return None
        without = dict.fromkeys(("p", "scale", "seed", "stream", "first", "part"), ...)
        scale = replace(op, kind="scale", operands=op.operands[:1]).with_attrs(**without)
        return scale.with_attrs(factor=1 - op.attrs["p"])

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (_masked(arrays[0], int(arrays[1]), attrs),)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        x, step = op.operands
        return [*emit.emit("dropout_grad", (dy, step), op.attrs, names=[f"{x}.grad"]), None]


class DropoutGrad(OpKind):
    """The gradient of dropout's input: the output's gradient under the same mask, which is drawn again, not stored."""

    name = "dropout_grad"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0],)

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return _tower_attrs(attrs, towers, tower)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (_masked(arrays[0], int(arrays[1]), attrs),)


def _tower_attrs(attrs: Attrs, towers: int, tower: int) -> Attrs:
    outer, outers = attrs.get("part", (0, 1))
    return {**attrs, "part": (outer * towers + tower, outers * towers)}


def _masked(x: Array, step: int, attrs: Attrs) -> Array:
    elements = prod(x.shape[1:])
    kept = dropout_mask(
        attrs["seed"],
        attrs["stream"],
        step,
        len(x),
        elements,
        attrs["p"],
        first_index=attrs.get("first", 0),
        first_element=attrs.get("part", (0, 1))[0] * elements,
    )
    factor = 1 / (1 - attrs["p"]) if attrs["scale"] == "train" else 1.0
    return np.where(kept.reshape(x.shape), x * factor, 0).astype(x.dtype)


OPS = (Dropout(), DropoutGrad())
