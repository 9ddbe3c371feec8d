"""Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.parameters import Choice, Parameter, Real, Whole, value_text
from alexdsl.ir.protocol import PARTIAL, WHOLE, Array, Cut, Emitter, LayerKind, OpKind, ShapeError, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.window import expect_maps


class Lrn(LayerKind):
    """Local response normalisation: every map divided by a power of its neighbours' strength.

    y = x * (k + alpha * S) ** -beta, where S is the sum of the squares at the same pixel of ``size`` maps around x's
    own, or (per = mean) that sum divided by ``size``. Maps beyond the first and the last count as zeros. The paper's
    formula sums; the paper's own code, Caffe and PyTorch divide.
    """

    name = "lrn"
    parameters = (
        Parameter("size", Whole(1), 5, "how many maps S spans"),
        Parameter("alpha", Real(0), 1e-4, "weight of S"),
        Parameter("beta", Real(0), 0.75, "the power"),
        Parameter("k", Real(0), 2.0, "added to S"),
        Parameter("per", Choice(("sum", "mean")), "sum", "whether S is a sum, or divided by size"),
    )
    needs = ("input",)
    sees = True

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        towers = attrs.get("towers", 1)
        cut = towers > 1 and attrs["sees"] == "own" and attrs["size"] > 1
        return {
            "size": value_text(attrs["size"]),
            "k": value_text(attrs["k"]),
            "alpha of a map's square": f"{_alpha(attrs):g}",
            "beta": value_text(attrs["beta"]),
            "windows": f"end at the edge of each of {towers} towers" if cut else "reach over all maps",
        }

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        expect_maps(types[0])
        n, _, *rest = types[0].shape
        own = _own(types[0].shape[1], attrs)
        return (types[0].with_shape(n, own.stop - own.start, *rest),)

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [WHOLE if attrs.get("sees") == "all" else 1], [1]

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return _tower_attrs(attrs, towers, tower)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        (x,) = arrays
        y = x * _strength(x, attrs) ** -attrs["beta"]
        return (y[:, _own(x.shape[1], attrs)],)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        (x,) = op.operands
        return emit.emit("lrn_grad", (dy, x), op.attrs, names=[f"{x}.grad"])


class LrnGrad(OpKind):
    """The gradient of lrn's input, from its output's gradient and its input.

    With s = k + alpha * S: dx_j = dy_j s_j ** -beta - 2 alpha beta x_j * (sum of dy_i x_i s_i ** (-beta - 1) over the
    maps i whose window holds j), alpha divided by ``size`` under per = mean.
    """

    name = "lrn_grad"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[1],)

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return ([1, WHOLE], [PARTIAL]) if attrs.get("sees") == "all" else ([1, 1], [1])

    def tower_attrs(self, attrs: Attrs, towers: int, tower: int) -> Attrs:
        return _tower_attrs(attrs, towers, tower)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        own, x = arrays
        dy = np.zeros_like(x)
        dy[:, _own(x.shape[1], attrs)] = own
        strength, beta = _strength(x, attrs), attrs["beta"]
        share = dy * x * strength ** (-beta - 1)
        dx = dy * strength**-beta
        for i in range(x.shape[1]):
            window = _window(i, attrs)
            dx[:, window] -= 2 * _alpha(attrs) * beta * x[:, window] * share[:, i : i + 1]
        return (dx,)


def _tower_attrs(attrs: Attrs, towers: int, tower: int) -> Attrs:
    return {**attrs, "part": (tower, towers)} if attrs.get("sees") == "all" else attrs


def _own(channels: int, attrs: Attrs) -> slice:
    """The channels that come out: all, or those of tower ``part`` = (tower, towers)."""
    tower, towers = attrs.get("part", (0, 1))
    if channels % towers:
        raise ShapeError(f"has {channels} maps, which {towers} towers cannot share equally")
    return slice(tower * channels // towers, (tower + 1) * channels // towers)


def _window(i: int, attrs: Attrs) -> slice:
    """The maps around map ``i``; an even ``size`` reaches one further back than ahead."""
    first = i - attrs["size"] // 2
    return slice(max(0, first), first + attrs["size"])


def _alpha(attrs: Attrs) -> float:
    return float(attrs["alpha"] / (attrs["size"] if attrs["per"] == "mean" else 1))


def _strength(x: Array, attrs: Attrs) -> Array:
    """k + alpha * S at every element."""
    total = np.zeros_like(x)
    for i in range(x.shape[1]):
        total[:, i] = (x[:, _window(i, attrs)] ** 2).sum(1)
    strength: Array = attrs["k"] + _alpha(attrs) * total
    return strength


OPS = (Lrn(), LrnGrad())
