"""The logistic function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import Array
from alexdsl.layers.elementwise import Elementwise, elementwise_ops


class Sigmoid(Elementwise):
    """Logistic function 1 / (1 + exp(-x)) of every element."""

    name = "sigmoid"
    needs = ("output",)
    scalar = "1.0 / (1.0 + exp(-x))"
    rising = True
    derivative = "y * (1.0 - y)"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        with np.errstate(over="ignore"):
            return (1 / (1 + np.exp(-arrays[0])),)

    def slope(self, x: Array, y: Array, attrs: Attrs) -> Array:
        slope: Array = y * (1 - y)
        return slope


OPS = elementwise_ops(Sigmoid())
