"""A value times a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.parameters import Parameter, Real
from alexdsl.ir.protocol import Array, Emitter, LayerKind, Types
from alexdsl.ir.types import TensorType


class Scale(LayerKind):
    """A value of any shape times ``factor``: the weight of an auxiliary loss, ``add(main, scale(aux, 0.3))``."""

    name = "scale"
    parameters = (Parameter("factor", Real(), doc="what every element is multiplied by"),)
    cheap = True
    scalar = "x * factor"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0],)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return (np.asarray(arrays[0] * attrs["factor"], arrays[0].dtype),)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dy,) = grads
        assert dy is not None
        return emit.emit("scale", (dy,), op.attrs, names=[f"{op.operands[0]}.grad"])


OPS = (Scale(),)
