"""The multinomial logistic loss: softmax and cross entropy as one op, stable for any logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.protocol import Array, Emitter, LayerKind, OpKind, ShapeError, Types
from alexdsl.ir.types import TensorType, f32


def _check(types: Types) -> None:
    if len(types[0].shape) != 2:
        raise ShapeError(
            f"expects scores [N, classes], and gets {types[0]}",
            "put a linear, flatten or global_avgpool layer before it",
        )
    if types[1].dtype != "i32" or types[1].shape != types[0].shape[:1]:
        raise ShapeError(f"expects labels i32[{types[0].shape[0]}], and gets {types[1]}")


class SoftmaxCrossEntropy(LayerKind):
    """Softmax and cross entropy: the mean over the batch of -log softmax(scores)[label].

    Scores [N, classes] and labels i32[N] give one number; a label of -1 counts as no loss.
    """

    name = "softmax_cross_entropy"
    inputs = 1
    loss = True
    needs = ("input",)

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        _check(types)
        return (f32(),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        logs = _log_softmax(arrays[0])
        rows = np.flatnonzero(arrays[1] >= 0)
        return (np.asarray(-logs[rows, arrays[1][rows]].sum() / len(logs), logs.dtype),)

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        (dloss,) = grads
        assert dloss is not None
        scores, label = op.operands
        return [*emit.emit("softmax_cross_entropy_grad", (dloss, scores, label), names=[f"{scores}.grad"]), None]


class SoftmaxCrossEntropyGrad(OpKind):
    """dscores = dloss (softmax(scores) - one hot label) / N, and 0 where the label is -1."""

    name = "softmax_cross_entropy_grad"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        _check(types[1:])
        return (types[1],)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        dloss, scores, label = arrays
        slope = np.exp(_log_softmax(scores))
        rows = np.flatnonzero(label >= 0)
        slope[rows, label[rows]] -= 1
        slope[label < 0] = 0
        return (dloss * slope / len(scores),)


def _log_softmax(scores: Array) -> Array:
    shifted: Array = scores - scores.max(1, keepdims=True)
    logs: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs


OPS = (SoftmaxCrossEntropy(), SoftmaxCrossEntropyGrad())
