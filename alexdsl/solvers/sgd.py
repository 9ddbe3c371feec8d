"""Stochastic gradient descent with momentum (Krizhevsky et al. 2012, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Parameter, Real
from alexdsl.ir.protocol import WHOLE, Array, Cut, ShapeError, SolverKind, Types
from alexdsl.ir.types import TensorType

T = TypeVar("T")


class Sgd(SolverKind):
    """``velocity = inside``: v = momentum v - lr decay w - lr g, w += v (the paper, cuda-convnet, Caffe);
    ``outside``: v = momentum v + g + decay w, w -= lr v (PyTorch). lr is the parameter's own times ``rate``.
    """

    name = "sgd"
    first_stage = "differentiated"
    parameters = (
        Parameter("lr", Real(0), 0.01, "learning rate; 0 freezes"),
        Parameter("momentum", Real(0, 1), 0.9, "the part of the velocity that a step keeps"),
        Parameter("decay", Real(0), 0.0005, "weight decay"),
        Parameter("velocity", Choice(("inside", "outside")), "inside", "whether the velocity holds the learning rate"),
    )

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        *arrays, rate = types
        if len(arrays) % 3 or rate.shape or any(len({t.shape for t in three}) != 1 for three in _threes(arrays)):
            raise ShapeError("takes weight, velocity and gradient of each parameter, all of a shape, and the rate")
        return [t for three in _threes(arrays) for t in three[:2]]

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        parameters = len(types) // 3
        return [*[0] * (3 * parameters), WHOLE], [0] * (2 * parameters)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        *arrays, rate = arrays
        lr = attrs["lr"] * rate
        found: list[Array] = []
        for weight, velocity, grad in _threes(arrays):
            if attrs["velocity"] == "inside":
                new = attrs["momentum"] * velocity - attrs["decay"] * lr * weight - lr * grad
                found += [weight + new, new]
            else:
                new = attrs["momentum"] * velocity + grad + attrs["decay"] * weight
                found += [weight - lr * new, new]
        return found


def _threes(items: Sequence[T]) -> Sequence[Sequence[T]]:
    """A parameter's weight, velocity and gradient, for each parameter."""
    return [items[i : i + 3] for i in range(0, len(items), 3)]
