"""Max pooling, with windows that may overlap (Krizhevsky et al. 2012, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.parameters import Choice, Optional, Pad, Pair, Parameter
from alexdsl.ir.protocol import Array, Emitter, LayerKind, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.input_grad import InputGrad
from alexdsl.layers.window import padded, pool_axes, taps, travel_text, unpadded


class MaxPool(LayerKind):
    """Max pooling: the largest pixel of every window of every map; ties go to the first, row by row.

    Maps [N, C, H, W] give [N, C, H', W'] with H' = (H + pads - kernel) / stride + 1. Where windows do not fit,
    round = floor leaves the last pixels out, and ceil adds a window that hangs over, if it starts inside the image.
    Pads never win. The second result says which pixel of its window won, counted row by row.
    """

    name = "maxpool"
    parameters = (
        Parameter("kernel", Pair(), doc="size of the window"),
        Parameter("stride", Optional(Pair()), None, "step from window to window; none for the window's size"),
        Parameter("pad", Pad(), (0, 0, 0, 0), "border that never wins"),
        Parameter("round", Choice(("floor", "ceil")), "floor", "where windows do not fit: one less or one more"),
    )
    needs = ("result_1",)

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        return travel_text(pool_axes(types[0].shape, attrs))

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        (x,) = types
        rows, columns = pool_axes(x.shape, attrs)
        y = x.with_shape(*x.shape[:2], rows.out, columns.out)
        return y, TensorType(_index_dtype(attrs), y.shape, y.layout)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (x,) = arrays
        rows, columns = pool_axes(x.shape, attrs)
        wide = padded(x, rows, columns, -np.inf)
        windows = np.stack([wide[:, :, i, j] for i, j in taps(rows, columns)])
        return windows.max(0), windows.argmax(0).astype({"u8": np.uint8, "i32": np.int32}[_index_dtype(attrs)])

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        dy = grads[0]
        assert dy is not None
        (x,) = op.operands
        attrs = {**op.attrs, "input": emit.type(x).shape}
        return emit.emit("maxpool_grad", (dy, op.results[1].name), attrs, names=[f"{x}.grad"])


class MaxPoolGrad(InputGrad):
    """The gradient of maxpool's input: every window gives its output's gradient to the pixel that won."""

    name = "maxpool_grad"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        dy, index = arrays
        rows, columns = pool_axes(attrs["input"], attrs)
        wide = padded(np.zeros(attrs["input"], dy.dtype), rows, columns, 0)
        for tap, (i, j) in enumerate(taps(rows, columns)):
            wide[:, :, i, j] += np.where(index == tap, dy, 0)
        return (unpadded(wide, rows, columns),)


def _index_dtype(attrs: Attrs) -> str:
    return "u8" if attrs["kernel"][0] * attrs["kernel"][1] <= 255 else "i32"


OPS = (MaxPool(), MaxPoolGrad())
