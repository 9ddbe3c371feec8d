"""Stochastic gradient descent with momentum (Krizhevsky et al. 2012, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Parameter, Real
from alexdsl.ir.protocol import WHOLE, Array, Cut, SolverKind, Types
from alexdsl.ir.types import TensorType


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
    inplace: ClassVar[Mapping[int, int]] = {0: 0, 1: 1}

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return types[:2]

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [0, 0, 0, WHOLE], [0, 0]

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        weight, velocity, grad, rate = arrays
        lr = attrs["lr"] * rate
        if attrs["velocity"] == "inside":
            new = attrs["momentum"] * velocity - attrs["decay"] * lr * weight - lr * grad
            return weight + new, new
        new = attrs["momentum"] * velocity + grad + attrs["decay"] * weight
        return weight - lr * new, new
