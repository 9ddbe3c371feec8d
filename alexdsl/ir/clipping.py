"""The ops of gradient clipping by global norm (Pascanu et al., "On the difficulty of training recurrent neural
networks", 2013, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.protocol import PARTIAL, WHOLE, Array, Cut, OpKind, ShapeError, Types
from alexdsl.ir.types import TensorType


class SquareSum(OpKind):
    """The sum of the squares of a value's elements, a scalar; towers give a part each."""

    name = "square_sum"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (TensorType("f32", ()),)

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [0], [PARTIAL]

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (np.asarray((arrays[0] * arrays[0]).sum(), arrays[0].dtype),)


class Clip(OpKind):
    """A gradient times limit / norm where the norm of all gradients is more than ``limit``; the second operand is the
    norm's square. A norm that is no number makes the gradient none."""

    name = "clip"
    first_stage = "differentiated"
    inplace: ClassVar[Mapping[int, int]] = {0: 0}

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        if types[1].shape:
            raise ShapeError("takes a gradient and the square of the norm of all of them")
        return (types[0],)

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [0, WHOLE], [0]

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        grad, norm = arrays[0], np.sqrt(arrays[1])
        return (np.asarray(grad if norm <= attrs["limit"] else grad * (attrs["limit"] / norm), grad.dtype),)


CLIPPING: tuple[OpKind, ...] = (SquareSum(), Clip())
