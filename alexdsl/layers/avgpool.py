"""Average pooling over windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Optional, Pad, Pair, Parameter
from alexdsl.ir.protocol import Array, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.input_grad import InputGrad, OfOutputGrad
from alexdsl.layers.window import Axis, padded, pool_axes, taps, travel_text, unpadded


class AvgPool(OfOutputGrad):
    """Average pooling: the mean of every window of every map.

    Maps [N, C, H, W] give [N, C, H', W'] with H' = (H + pads - kernel) / stride + 1. count = inside divides by the
    window's pixels inside the image, padded also counts the pad's zeros (as Caffe and PyTorch do unless told). What
    hangs over the pad under round = ceil never counts.
    """

    name = "avgpool"
    parameters = (
        Parameter("kernel", Pair(), doc="size of the window"),
        Parameter("stride", Optional(Pair()), None, "step from window to window; none for the window's size"),
        Parameter("pad", Pad(), (0, 0, 0, 0), "zeros around the maps"),
        Parameter("round", Choice(("floor", "ceil")), "floor", "where windows do not fit: one less or one more"),
        Parameter("count", Choice(("inside", "padded")), "inside", "which pixels of a window the mean counts"),
    )

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        rows, columns = pool_axes(types[0].shape, attrs)
        zeros = rows.before + rows.after + columns.before + columns.after > 0 and attrs["count"] == "padded"
        return {**travel_text((rows, columns)), "the mean counts the pad's zeros": "yes" if zeros else "no"}

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        (x,) = types
        rows, columns = pool_axes(x.shape, attrs)
        return (x.with_shape(*x.shape[:2], rows.out, columns.out),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (x,) = arrays
        rows, columns = pool_axes(x.shape, attrs)
        wide = padded(x, rows, columns, 0)
        total = np.zeros((*x.shape[:2], rows.out, columns.out), x.dtype)
        for i, j in taps(rows, columns):
            total += wide[:, :, i, j]
        return (total / counts(rows, columns, attrs).astype(x.dtype),)


class AvgPoolGrad(InputGrad):
    """The gradient of avgpool's input: every window shares its output's gradient among its pixels."""

    name = "avgpool_grad"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (dy,) = arrays
        rows, columns = pool_axes(attrs["input"], attrs)
        wide = padded(np.zeros(attrs["input"], dy.dtype), rows, columns, 0)
        share = dy / counts(rows, columns, attrs).astype(dy.dtype)
        for i, j in taps(rows, columns):
            wide[:, :, i, j] += share
        return (unpadded(wide, rows, columns),)


def counts(rows: Axis, columns: Axis, attrs: Attrs) -> Array:
    """How many pixels the mean of each window counts: [H', W']."""
    return np.outer(_counts(rows, attrs["count"]), _counts(columns, attrs["count"]))


def _counts(axis: Axis, count: str) -> Array:
    first = np.arange(axis.out) * axis.stride - axis.before
    lowest, end = (-axis.before, axis.size + axis.after) if count == "padded" else (0, axis.size)
    return np.minimum(first + axis.kernel, end) - np.maximum(first, lowest)


OPS = (AvgPool(), AvgPoolGrad())
