"""Nesterov's accelerated gradient (Sutskever et al. 2013), as Caffe and PyTorch have it."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import Array
from alexdsl.solvers.sgd import Sgd


class Nesterov(Sgd):
    """The velocity is that of ``sgd``, and the weight goes where the next step's momentum will bring it. ``velocity =
    inside``: w += momentum v - lr (decay w + g), v being the new one; ``outside``: w -= lr (g + decay w + momentum v).
    """

    name = "nesterov"

    def update(
        self, weight: Array, states: Sequence[Array], grad: Array, scalars: Sequence[Array], attrs: Attrs
    ) -> Sequence[Array]:
        lr, slope = attrs["lr"] * scalars[0], grad + attrs["decay"] * weight
        _, new = super().update(weight, states, grad, scalars, attrs)
        if attrs["velocity"] == "inside":
            return weight + attrs["momentum"] * new - lr * slope, new
        return weight - lr * (slope + attrs["momentum"] * new), new
