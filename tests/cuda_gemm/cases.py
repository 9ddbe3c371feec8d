"""Convolutions and linear layers for the products' kernels: their operands, and what the layers' references say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from alexdsl_cuda.gemm.calls import Plan
from alexdsl_cuda.gemm.geometry import Geometry
from numpy.typing import NDArray

from alexdsl.ir.kernels import Scalar
from alexdsl.layers.window import Axis
from alexdsl.registry import registry

Array = NDArray[Any]
REGISTRY = registry()
RELU = Scalar(("v", "_"), ("t = (v if v > float32(0.0) else float32(0.0))",), "t")
ADD = Scalar(("v", "other"), ("t = v + other",), "t")


def axis(size: int, kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Axis:
    return Axis(size, kernel, stride, pad, pad, dilation, (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1)


def conv(
    images: int, channels: int, size: int, maps: int, kernel: int, stride: int = 1, pad: int = 0, groups: int = 1,
    dilation: int = 1,
) -> Geometry:  # fmt: skip
    side = axis(size, kernel, stride, pad, dilation)
    return Geometry(images, channels, maps, side, side, groups)


def padded_after(images: int, channels: int, size: int, maps: int, kernel: int) -> Geometry:
    """A convolution padded at the ends of its axes only, whose output has the input's pixels."""
    side = Axis(size, kernel, 1, 0, kernel - 1, 1, size)
    return Geometry(images, channels, maps, side, side)


@dataclass(frozen=True)
class Case:
    """A plan on arrays; ``result`` names what it makes, ``expected`` is what that should be."""

    name: str
    plan: Plan
    arrays: dict[str, Array]
    expected: dict[str, Array]


def nhwc(x: Array) -> Array:
    return x.transpose(0, 2, 3, 1)


def halved(x: Array) -> Array:
    """Rounded to bf16, to nearest even; float64."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


def case(
    name: str, op: str, g: Geometry, make: Callable[[], Plan | None], *, bias: bool = True, tail: str = "",
    halves: bool = False,
) -> Case:  # fmt: skip
    """The arrays of an op on a geometry, flat and in the kernels' layouts, and what the reference makes of them; of
    what is multiplied ``halves`` if asked."""
    random = np.random.default_rng(7)
    attrs = {
        "maps": g.maps, "kernel": (g.rows.kernel, g.columns.kernel), "stride": (g.rows.stride, g.columns.stride),
        "pad": (g.rows.before, g.rows.after, g.columns.before, g.columns.after),
        "dilation": (g.rows.dilation, g.columns.dilation), "groups": g.groups, "round": "floor", "bias": bias,
        "input": (g.images, g.channels, g.rows.size, g.columns.size), "sees": "own",
    }  # fmt: skip
    x = random.standard_normal(attrs["input"]).astype(np.float32)
    weight = random.standard_normal((g.maps, g.inputs, g.rows.kernel, g.columns.kernel)).astype(np.float32)
    added = random.standard_normal(g.maps).astype(np.float32)
    y = random.standard_normal((g.images, g.maps, g.rows.out, g.columns.out)).astype(np.float32)
    plan = make()
    assert plan is not None, name
    wide = [a.astype(np.float64) for a in (x, weight, added, y)]
    a, b, c = (halved(v) for v in (x, weight, y)) if halves else (wide[0], wide[1], wide[3])
    if op == "forward":
        (made,) = REGISTRY["conv"].reference([a, b, wide[2]] if bias else [a, b], attrs)
        made = {"": made, "relu": np.maximum(made, 0), "add": made + wide[3]}[tail]
        arrays = {"x": nhwc(x), "weight": nhwc(weight), "bias": added, "other": nhwc(y), "y": np.zeros_like(nhwc(y))}
        expected = {"y": nhwc(made)}
    elif op == "input_grad":
        (made,) = REGISTRY["conv_input_grad"].reference([b, c], attrs)
        made = {"": made, "add": made + wide[0]}[tail]
        arrays = {"weight": nhwc(weight), "dy": nhwc(y), "other": nhwc(x), "dx": np.zeros_like(nhwc(x))}
        expected = {"dx": nhwc(made)}
    else:
        made = REGISTRY["conv_weight_grad"].reference([a, c], attrs)
        if bias:
            made = made[0], wide[3].sum(axis=(0, 2, 3))
        arrays = {"x": nhwc(x), "dy": nhwc(y), "dw": np.zeros_like(nhwc(weight)), "db": np.zeros(g.maps, np.float32)}
        expected = dict(zip(("dw", "db"), (nhwc(made[0]), *made[1:]), strict=False))
    arrays["workspace"] = np.full(max(4, plan.workspace), np.nan)
    flat = {key: np.ascontiguousarray(value, dtype=np.float32).ravel() for key, value in arrays.items()}
    return Case(name, plan, flat, {key: value.ravel() for key, value in expected.items()})
