"""The fully connected layer: every output is a weighted sum of the whole input."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Init, Optional, Parameter, Whole
from alexdsl.ir.protocol import Array, Types, Weight
from alexdsl.ir.types import TensorType
from alexdsl.layers.product import Product, ProductInputGrad, ProductWeightGrad


class Linear(Product):
    """Fully connected layer: y = W x + b, the input flattened channel by channel.

    Input [N, ...], output [N, units]; weight (units, inputs).
    """

    name = "linear"
    parameters = (
        Parameter("units", Whole(1), doc="outputs"),
        Parameter("weight", Init(), {"kind": "he"}, doc="first weights"),
        Parameter("bias", Optional(Init()), {"kind": "constant", "value": 0.0}, doc="first biases"),
    )
    width = "units"

    def weights(self, types: Types, attrs: Attrs) -> Sequence[Weight]:
        inputs, units = prod(types[0].shape[1:]), attrs["units"]
        found = [Weight("weight", (units, inputs), (inputs, units)), Weight("bias", (units,), (inputs, units))]
        return found if attrs["bias"] else found[:1]

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        return (types[0].with_shape(types[0].shape[0], attrs["units"]),)

    def multiply_adds(self, types: Types, attrs: Attrs) -> int:
        return types[0].elements * int(attrs["units"])

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        y = arrays[0].reshape(len(arrays[0]), -1) @ arrays[1].T
        return (y + arrays[2] if len(arrays) == 3 else y,)


class LinearInputGrad(ProductInputGrad):
    """The gradient of a linear layer's input, in the input's shape: dx = dy W."""

    name = "linear_input_grad"
    width = "units"

    def multiply_adds(self, types: Types, attrs: Attrs) -> int:
        return types[1].elements * types[0].shape[1]

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        return ((arrays[1] @ arrays[0]).reshape(attrs["input"]),)


class LinearWeightGrad(ProductWeightGrad):
    """The gradients of a linear layer's weight and bias: dW = dy' x, db = the sum of dy over the batch."""

    name = "linear_weight_grad"
    width = "units"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        x, dy = types
        found = [x.with_shape(dy.shape[1], prod(x.shape[1:]))]
        return [*found, x.with_shape(dy.shape[1])] if attrs["bias"] else found

    def multiply_adds(self, types: Types, attrs: Attrs) -> int:
        return types[0].elements * types[1].shape[1]

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        x, dy = arrays
        dw = dy.T @ x.reshape(len(x), -1)
        return (dw, dy.sum(0)) if attrs["bias"] else (dw,)


OPS = (Linear(), LinearInputGrad(), LinearWeightGrad())
