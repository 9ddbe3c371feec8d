"""The sum of values: shortcuts of residual nets, losses of several heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import Array, Emitter, LayerKind, ShapeError, Types
from alexdsl.ir.types import TensorType


class Add(LayerKind):
    """Sum of two or more values of one shape, element by element, added from left to right."""

    name = "add"
    inputs = None
    # The value of a sum of two, by far the most usual.
    scalar = "x + a"
    scalar_operands = ("x", "a")

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        if len(types) < 2:
            raise ShapeError("expects two or more values", "add(a, b), or x | add(a)")
        if len({(t.dtype, t.shape) for t in types}) != 1:
            raise ShapeError(
                "expects values of one shape, and gets " + " and ".join(map(str, types)),
                "a conv with kernel=1 brings maps to another number of channels, and its stride to another size",
            )
        return (types[0],)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
        return (np.asarray(total),)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        return [grads[0] if want else None for want in wanted]


OPS = (Add(),)
