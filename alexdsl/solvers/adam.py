"""Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Parameter, Real
from alexdsl.ir.protocol import Array, SolverKind

NOTHING = -1000.0
"""A logarithm of 0: what it is of is 0 in float32."""


def constants(attrs: Attrs) -> Mapping[str, float | bool]:
    """What kernels are compiled for, computed in double: 1 - beta1, 1 - beta2, the logarithms of beta1 and beta2, and
    whether decay is added to the gradient."""
    found: dict[str, float | bool] = {"BY_GRADIENT": attrs["decay_by"] == "gradient"}
    for i in (1, 2):
        beta = attrs[f"beta{i}"]
        found |= {f"REST{i}": 1 - beta, f"LOG{i}": math.log(beta) if beta else NOTHING}
    return found


class Adam(SolverKind):
    """m = beta1 m + (1 - beta1) g, s = beta2 s + (1 - beta2) g g,
    w -= lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + epsilon), t counting steps from 1. lr is the parameter's own
    times ``rate``. ``decay_by = gradient`` adds decay w to g; ``weight`` takes lr decay w off the weight (Loshchilov
    and Hutter, AdamW, 2019).
    """

    name = "adam"
    parameters = (
        Parameter("lr", Real(0), 0.001, "learning rate; 0 freezes"),
        Parameter("beta1", Real(0, 1, below=True), 0.9, "the part of the gradient's mean that a step keeps"),
        Parameter("beta2", Real(0, 1, below=True), 0.999, "the part of its square's mean that a step keeps"),
        Parameter("epsilon", Real(0), 1e-8, "added to the root of the square's mean"),
        Parameter("decay", Real(0), 0.0, "weight decay"),
        Parameter("decay_by", Choice(("gradient", "weight")), "gradient", "what weight decay is applied to"),
    )
    states = ("mean", "square")
    scalars = ("rate", "step")
    rates = ("lr", "decay")

    def update(
        self, weight: Array, states: Sequence[Array], grad: Array, scalars: Sequence[Array], attrs: Attrs
    ) -> Sequence[Array]:
        (mean, square), (rate, step) = states, scalars
        beta1, beta2, lr, t = attrs["beta1"], attrs["beta2"], attrs["lr"] * rate, np.float64(step + 1)
        if attrs["decay_by"] == "gradient":
            grad = grad + attrs["decay"] * weight
        else:
            weight = weight - lr * attrs["decay"] * weight
        mean = beta1 * mean + (1 - beta1) * grad
        square = beta2 * square + (1 - beta2) * grad * grad
        root = np.sqrt(square / (1 - beta2**t)) + attrs["epsilon"]
        return weight - lr * mean / (1 - beta1**t) / root, mean, square
