"""How weights start: each rule is a call in the spec, ``weight = normal(0.01)``."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Optional, Parameter, Real
from alexdsl.ir.protocol import Array, Draw, Initialiser


class Constant(Initialiser):
    """The same number everywhere; a bare number in the spec means this."""

    name = "constant"
    parameters = (Parameter("value", Real(), doc="the number"),)

    def values(self, shape: tuple[int, ...], fans: tuple[int, int], attrs: Attrs, draw: Draw) -> Array:
        return np.full(shape, attrs["value"], np.float32)


class Normal(Initialiser):
    """Normal numbers of standard deviation ``std`` around ``mean``."""

    name = "normal"
    parameters = (
        Parameter("std", Real(0), doc="standard deviation"),
        Parameter("mean", Real(), 0.0, "mean"),
    )

    def values(self, shape: tuple[int, ...], fans: tuple[int, int], attrs: Attrs, draw: Draw) -> Array:
        return _normal(shape, attrs["std"], draw, attrs["mean"])


class Uniform(Initialiser):
    """Numbers spread evenly from ``low`` to ``high``: uniform(0.1) is from -0.1 to 0.1."""

    name = "uniform"
    parameters = (
        Parameter("high", Real(), doc="upper end"),
        Parameter("low", Optional(Real()), None, "lower end; none for -high"),
    )

    def values(self, shape: tuple[int, ...], fans: tuple[int, int], attrs: Attrs, draw: Draw) -> Array:
        low = -attrs["high"] if attrs["low"] is None else attrs["low"]
        return _uniform(shape, low, attrs["high"], draw)


class Xavier(Initialiser):
    """Variance 1 / mean of fan in and fan out (Glorot and Bengio 2010); fan = in takes fan in alone, as Caffe does."""

    name = "xavier"
    parameters = (
        Parameter("by", Choice(("uniform", "normal")), "uniform", "how the numbers are spread"),
        Parameter("fan", Choice(("mean", "in", "out")), "mean", "which fan the variance is one by"),
    )

    def values(self, shape: tuple[int, ...], fans: tuple[int, int], attrs: Attrs, draw: Draw) -> Array:
        return _by_variance(shape, 1 / _fan(fans, attrs["fan"]), attrs["by"], draw)


class He(Initialiser):
    """Variance 2 / fan in, for layers before a relu (He et al. 2015, also called Kaiming)."""

    name = "he"
    parameters = (
        Parameter("by", Choice(("normal", "uniform")), "normal", "how the numbers are spread"),
        Parameter("fan", Choice(("in", "out", "mean")), "in", "which fan the variance is two by"),
    )

    def values(self, shape: tuple[int, ...], fans: tuple[int, int], attrs: Attrs, draw: Draw) -> Array:
        return _by_variance(shape, 2 / _fan(fans, attrs["fan"]), attrs["by"], draw)


def _fan(fans: tuple[int, int], which: str) -> float:
    return {"in": fans[0], "out": fans[1], "mean": (fans[0] + fans[1]) / 2}[which]


def _by_variance(shape: tuple[int, ...], variance: float, by: str, draw: Draw) -> Array:
    if by == "normal":
        return _normal(shape, sqrt(variance), draw)
    limit = sqrt(3 * variance)
    return _uniform(shape, -limit, limit, draw)


def _normal(shape: tuple[int, ...], std: float, draw: Draw, mean: float = 0.0) -> Array:
    return (mean + std * draw.normals(prod(shape))).astype(np.float32).reshape(shape)


def _uniform(shape: tuple[int, ...], low: float, high: float, draw: Draw) -> Array:
    return (low + (high - low) * draw.uniforms(prod(shape))).astype(np.float32).reshape(shape)


INITIALISERS = (Constant(), Normal(), Uniform(), Xavier(), He())
