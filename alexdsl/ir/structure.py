"""The op kinds that belong to no layer: leaves of a graph, and how values are cut, joined, moved and summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import Array, Cut, OpKind, ShapeError, Types
from alexdsl.ir.types import TensorType


class Leaf(OpKind):
    """An op without operands; its result's type is written on it, its value comes from outside."""

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        raise ShapeError(f"'{self.name}' does not follow from other values")

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        raise LookupError(f"'{self.name}' has no value of its own")


class Input(Leaf):
    """A value that every step brings: images, labels, the learning rate, the step's number (``field`` names it)."""

    name = "input"


class ParameterLeaf(Leaf):
    """A trained weight, ``of`` the spec's name; ``tower`` of ``towers`` when it is one tower's rows."""

    name = "parameter"


class State(Leaf):
    """An array that steps update without a gradient of its own: velocities, running statistics."""

    name = "state"


class Constant(OpKind):
    """A float32 scalar known to the compiler."""

    name = "constant"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (TensorType("f32", ()),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (np.asarray(attrs["value"], np.float32),)


class Sum(OpKind):
    """The sum of equal-shaped values, added from left to right: gradients that meet, partial sums of towers.

    ``cut`` is the axis along which towers share it where that is not the channels'.
    """

    name = "sum"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        if len({t.shape for t in types}) != 1:
            raise ShapeError("sums of different shapes: " + ", ".join(map(str, types)))
        return (types[0],)

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        cuts, results = super().cuts(types, attrs)
        return ([attrs["cut"]] * len(cuts), [attrs["cut"]]) if "cut" in attrs else (cuts, results)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
        return (np.asarray(total),)


class Accumulate(Sum):
    """A total and one more value, added where the total lies: gradients of a batch's slices."""

    name = "accumulate"
    inplace: ClassVar[Mapping[int, int]] = {0: 0}


class Mean(Sum):
    """The mean of equal-shaped values, added from left to right: what the slices of a batch report."""

    name = "mean"
    first_stage = "parsed"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (total,) = super().reference(arrays, attrs)
        return (np.asarray(total / len(arrays), total.dtype),)


class Slice(OpKind):
    """``start`` up to ``stop`` along ``axis``: one tower's part of a value."""

    name = "slice"
    first_stage = "placed"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        shape = list(types[0].shape)
        shape[attrs["axis"]] = attrs["stop"] - attrs["start"]
        return (types[0].with_shape(*shape),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        index = [slice(None)] * arrays[0].ndim
        index[attrs["axis"]] = slice(attrs["start"], attrs["stop"])
        return (arrays[0][tuple(index)],)


class Join(OpKind):
    """Values one after the other along ``axis``: towers made whole."""

    name = "join"
    first_stage = "placed"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        shape = list(types[0].shape)
        shape[attrs["axis"]] = sum(t.shape[attrs["axis"]] for t in types)
        return (types[0].with_shape(*shape),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (np.concatenate(arrays, attrs["axis"]),)


class Copy(OpKind):
    """A value brought to another device; ``source`` is where it comes from, ``bytes`` what travels."""

    name = "copy"
    first_stage = "placed"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0],)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (arrays[0],)


class Convert(OpKind):
    """A value in another layout; ``layout`` is a backend's name, empty for row-major."""

    name = "convert"
    first_stage = "laid-out"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (TensorType(types[0].dtype, types[0].shape, attrs["layout"]),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (arrays[0],)


STRUCTURE: tuple[OpKind, ...] = (
    Input(), ParameterLeaf(), State(), Constant(), Sum(), Accumulate(), Mean(), Slice(), Join(), Copy(), Convert(),
)  # fmt: skip
LEAVES = ("input", "parameter", "state")
