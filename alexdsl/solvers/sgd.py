"""Stochastic gradient descent with momentum (Krizhevsky et al. 2012, section 5)."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Parameter, Real
from alexdsl.ir.protocol import Array, SolverKind


class Sgd(SolverKind):
    """``velocity = inside``: v = momentum v - lr decay w - lr g, w += v (the paper, cuda-convnet, Caffe);
    ``outside``: v = momentum v + g + decay w, w -= lr v (PyTorch). lr is the parameter's own times ``rate``.
    """

    name = "sgd"
    parameters = (
        Parameter("lr", Real(0), 0.01, "learning rate; 0 freezes"),
        Parameter("momentum", Real(0, 1), 0.9, "the part of the velocity that a step keeps"),
        Parameter("decay", Real(0), 0.0005, "weight decay"),
        Parameter("velocity", Choice(("inside", "outside")), "inside", "whether the velocity holds the learning rate"),
    )

    def update(
        self, weight: Array, states: Sequence[Array], grad: Array, scalars: Sequence[Array], attrs: Attrs
    ) -> Sequence[Array]:
        (velocity,), lr = states, attrs["lr"] * scalars[0]
        if attrs["velocity"] == "inside":
            new = attrs["momentum"] * velocity - attrs["decay"] * lr * weight - lr * grad
            return weight + new, new
        new = attrs["momentum"] * velocity + grad + attrs["decay"] * weight
        return weight - lr * new, new
