"""The hyperbolic tangent, the activation of LeNet-5 (LeCun et al. 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import Array
from alexdsl.layers.elementwise import Elementwise, elementwise_ops


class Tanh(Elementwise):
    """Hyperbolic tangent of every element."""

    name = "tanh"
    needs = ("output",)
    scalar = "tanh(x)"
    rising = True
    derivative = "1.0 - y * y"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (np.tanh(arrays[0]),)

    def slope(self, x: Array, y: Array, attrs: Attrs) -> Array:
        return 1 - y * y


OPS = elementwise_ops(Tanh())
