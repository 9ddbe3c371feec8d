"""The rectifier max(x, 0) (Nair and Hinton 2010; Krizhevsky et al. 2012, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import Array
from alexdsl.layers.elementwise import Elementwise, elementwise_ops


class Relu(Elementwise):
    """Rectified linear unit: max(x, 0) of every element; its slope at 0 is 0."""

    name = "relu"
    needs = ("output",)
    cheap = True
    scalar = "max(x, 0.0)"
    rising = True
    derivative = "1.0 if y > 0.0 else 0.0"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (np.maximum(arrays[0], 0),)

    def slope(self, x: Array, y: Array, attrs: Attrs) -> Array:
        return (y > 0).astype(y.dtype)


OPS = elementwise_ops(Relu())
