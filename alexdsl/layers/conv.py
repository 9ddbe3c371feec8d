"""Convolution of maps with learnt kernels (Krizhevsky et al. 2012, section 3.5), with groups, pads and dilation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Init, Optional, Pad, Pair, Parameter, Whole
from alexdsl.ir.protocol import Array, ShapeError, Types, Weight
from alexdsl.ir.types import TensorType
from alexdsl.layers.product import Product, ProductInputGrad, ProductWeightGrad
from alexdsl.layers.window import axes, expect_maps, padded, taps, travel_text, unpadded


def _out_shape(x: TensorType, attrs: Attrs) -> tuple[int, ...]:
    rows, columns = axes(x.shape, attrs)
    for axis in (rows, columns):
        if attrs["round"] is None and attrs["pad"] == (0, 0, 0, 0) and axis.kernel > axis.stride and axis.unread:
            windows = f"({axis.size} - {axis.reach}) / {axis.stride}"
            fit = (axis.out) * axis.stride + axis.reach
            story = ""
            if (axis.size, axis.kernel, axis.stride) == (224, 11, 4):
                story = "; the paper says 224, but its 55 x 55 maps need (227 - 11) / 4 + 1"
            raise ShapeError(
                f"windows of {axis.kernel} with stride {axis.stride} do not fit an input of {axis.size}: "
                f"{windows} = {(axis.size - axis.reach) / axis.stride:g} is not whole, {axis.unread} rows stay unread",
                f"an input of {fit} or {fit - axis.stride} fits{story}; "
                "or say round = floor (leave them) or ceil (read zeros beyond)",
            )
    return (x.shape[0], attrs["maps"], rows.out, columns.out)


class Conv(Product):
    """Convolution: each of ``maps`` output maps is a sum of the input maps under learnt kernels.

    Input [N, C, H, W], output [N, maps, H', W'] with H' = (H + pads - kernel) / stride + 1; weight
    [maps, C / groups, kernel, kernel] in OIHW order.
    """

    name = "conv"
    parameters = (
        Parameter("maps", Whole(1), doc="output maps"),
        Parameter("kernel", Pair(), doc="size of the window"),
        Parameter("stride", Pair(), (1, 1), doc="step from window to window"),
        Parameter("pad", Pad(), (0, 0, 0, 0), doc="zeros around the maps"),
        Parameter("dilation", Pair(), (1, 1), doc="step from tap to tap"),
        Parameter("groups", Whole(1), 1, doc="parts of the channels that see only each other (within a tower)"),
        Parameter("round", Optional(Choice(("floor", "ceil"))), None, "leave pixels, or read zeros beyond"),
        Parameter("weight", Init(), {"kind": "he"}, doc="first weights"),
        Parameter("bias", Optional(Init()), {"kind": "constant", "value": 0.0}, doc="first biases"),
    )  # fmt: skip
    width = "maps"

    def weights(self, types: Types, attrs: Attrs) -> Sequence[Weight]:
        expect_maps(types[0])
        channels, maps, groups = types[0].shape[1], attrs["maps"], attrs["groups"]
        if channels % groups or maps % groups:
            raise ShapeError(f"groups={groups} must divide both the {channels} input maps and the {maps} output maps")
        shape = (maps, channels // groups, *attrs["kernel"])
        taps = prod(attrs["kernel"])
        found = [Weight("weight", shape, (shape[1] * taps, maps // groups * taps))]
        return [*found, Weight("bias", (maps,), found[0].fans)] if attrs["bias"] else found

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        return {**super().meaning(types, attrs), **travel_text(axes(types[0].shape, attrs))}

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0].with_shape(*_out_shape(types[0], attrs)),)

    def multiply_adds(self, types: Types, attrs: Attrs) -> int:
        out = _out_shape(types[0], attrs)
        return prod(out) * prod(types[1].shape[1:])

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        x, weight = arrays[:2]
        rows, columns = axes(x.shape, attrs)
        y = np.zeros((len(x), attrs["maps"], rows.out, columns.out), x.dtype)
        for xs, ws, ys in _by_group(x, weight, y, attrs["groups"]):
            wide = padded(xs, rows, columns, 0)
            flat = ws.reshape(*ws.shape[:2], -1)
            for tap, (i, j) in enumerate(taps(rows, columns)):
                ys += np.einsum("nchw,oc->nohw", wide[:, :, i, j], flat[:, :, tap])
        return (y + arrays[2][:, None, None] if len(arrays) == 3 else y,)


class ConvInputGrad(ProductInputGrad):
    """The gradient of a convolution's input, from its weight and its output's gradient."""

    name = "conv_input_grad"
    width = "maps"

    def multiply_adds(self, types: Types, attrs: Attrs) -> int:
        return prod(types[1].shape) * prod(types[0].shape[1:])

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        weight, dy = arrays
        rows, columns = axes(attrs["input"], attrs)
        dx = np.zeros(attrs["input"], dy.dtype)
        for dxs, ws, dys in _by_group(dx, weight, dy, attrs["groups"]):
            wide = padded(dxs, rows, columns, 0)
            flat = ws.reshape(*ws.shape[:2], -1)
            for tap, (i, j) in enumerate(taps(rows, columns)):
                wide[:, :, i, j] += np.einsum("nohw,oc->nchw", dys, flat[:, :, tap])
            dxs += unpadded(wide, rows, columns)
        return (dx,)


class ConvWeightGrad(ProductWeightGrad):
    """The gradients of a convolution's weight and bias, from its input and its output's gradient."""

    name = "conv_weight_grad"
    width = "maps"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        x = types[0]
        shape = (attrs["maps"], x.shape[1] // attrs["groups"], *attrs["kernel"])
        found = [x.with_shape(*shape)]
        return [*found, x.with_shape(attrs["maps"])] if attrs["bias"] else found

    def multiply_adds(self, types: Types, attrs: Attrs) -> int:
        return types[1].elements * (types[0].shape[1] // int(attrs["groups"])) * prod(map(int, attrs["kernel"]))

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        x, dy = arrays
        rows, columns = axes(x.shape, attrs)
        dw = np.zeros((attrs["maps"], x.shape[1] // attrs["groups"], rows.kernel * columns.kernel), dy.dtype)
        for xs, dws, dys in _by_group(x, dw, dy, attrs["groups"]):
            wide = padded(xs, rows, columns, 0)
            for tap, (i, j) in enumerate(taps(rows, columns)):
                dws[:, :, tap] += np.einsum("nchw,nohw->oc", wide[:, :, i, j], dys)
        dw = dw.reshape(*dw.shape[:2], *attrs["kernel"])
        return (dw, dy.sum((0, 2, 3))) if attrs["bias"] else (dw,)


def _by_group(x: Array, weight: Array, y: Array, groups: int) -> list[tuple[Array, Array, Array]]:
    """Views of the input's, weight's and output's channels group by group."""
    inputs, outputs = x.shape[1] // groups, y.shape[1] // groups
    return [
        (
            x[:, g * inputs : (g + 1) * inputs],
            weight[g * outputs : (g + 1) * outputs],
            y[:, g * outputs : (g + 1) * outputs],
        )
        for g in range(groups)
    ]


OPS = (Conv(), ConvInputGrad(), ConvWeightGrad())
