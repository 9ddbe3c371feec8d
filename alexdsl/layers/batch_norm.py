"""Batch normalisation (Ioffe and Szegedy 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import ClassVar

import numpy as np

from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.parameters import Choice, Init, Optional, Parameter, Real, Whole, value_text
from alexdsl.ir.protocol import Array, Cut, Emitter, LayerKind, OpKind, ShapeError, Types, Weight
from alexdsl.ir.types import TensorType


class BatchNorm(LayerKind):
    """Batch normalisation: y = weight * (x - mean) / sqrt(variance + epsilon) + bias, channel by channel.

    Mean and variance are the whole batch's in training (over = n: those of every n images in a row), the running ones
    when predicting or under stats = frozen. A training step leaves momentum * running + (1 - momentum) * batch behind,
    the variance divided by count - 1 there (PyTorch calls 1 - momentum the momentum). Over several runs of images the
    running statistics learn the runs' mean.
    """

    # Results: y; mean and 1 / sqrt(variance + epsilon) per run and channel, [runs, C]; the new running statistics.
    name = "batch_norm"
    parameters = (
        Parameter("momentum", Real(0, 1), 0.9, "the part of the running statistics that a step keeps"),
        Parameter("epsilon", Real(0), 1e-5, "added to the variance"),
        Parameter("stats", Choice(("batch", "frozen")), "batch", "whose statistics a training step normalises by"),
        Parameter("over", Optional(Whole(1)), None, "how many images share statistics; none for the whole batch"),
        Parameter("weight", Init(), {"kind": "constant", "value": 1.0}, "first factors"),
        Parameter("bias", Init(), {"kind": "constant", "value": 0.0}, "first biases"),
    )
    weight_roles = ("weight", "bias")
    state_roles: ClassVar[Mapping[str, float]] = {"mean": 0.0, "variance": 1.0}
    inplace: ClassVar[Mapping[int, int]] = {3: 3, 4: 4}
    needs = ("input", "weights", "result_1", "result_2")

    def weights(self, types: Types, attrs: Attrs) -> Sequence[Weight]:
        _check(types[0], attrs)
        channels = types[0].shape[1]
        return [Weight(role, (channels,), (1, 1)) for role in (*self.weight_roles, *self.state_roles)]

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        x, _, _, mean, variance = types
        _check(x, attrs)
        statistics = mean.with_shape(_runs(x.shape, attrs), x.shape[1])
        return x, statistics, statistics, mean, variance

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [1, 0, 0, 0, 0][: len(types)], [1, 1, 1, 0, 0]

    def whole_batch(self, attrs: Attrs) -> bool:
        return bool(attrs["stats"] == "batch")

    def meaning(self, types: Types, attrs: Attrs) -> Mapping[str, str]:
        batch = types[0].shape[0]
        frozen = attrs["stats"] == "frozen"
        own = (
            "running ones"
            if frozen
            else f"those of {attrs['over'] or batch} images"
            if attrs["over"]
            else "the batch's"
        )
        found = {"statistics in training": own, "epsilon": value_text(attrs["epsilon"])}
        return found if frozen else {**found, "momentum": value_text(attrs["momentum"])}

    def predict(self, op: Op) -> Op | None:
        return op.with_attrs(stats="frozen")

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        x, weight, bias, running_mean, running_variance = arrays
        runs = _by_run(x, attrs)
        if attrs["stats"] == "frozen":
            mean, variance = running_mean[None], running_variance[None]
            news = [running_mean.copy(), running_variance.copy()]
        else:
            count = runs.shape[1] * runs.shape[3]
            mean = runs.mean((1, 3))
            variance = ((runs - _spread(mean)) ** 2).mean((1, 3))
            keep = attrs["momentum"]
            news = [
                keep * running_mean + (1 - keep) * mean.mean(0),
                keep * running_variance + (1 - keep) * variance.mean(0) * (count / (count - 1)),
            ]
        rstd = 1 / np.sqrt(variance + attrs["epsilon"])
        normal = (runs - _spread(mean)) * _spread(rstd)
        y = normal * weight[:, None] + bias[:, None]
        return y.reshape(x.shape), mean, rstd, *news

    def gradient(
        self, emit: Emitter, op: Op, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> Sequence[str | None]:
        dy = grads[0]
        assert dy is not None
        x, weight, bias = op.operands[:3]
        mean, rstd = (r.name for r in op.results[1:3])
        names = [f"{name}.grad" for name in (x, weight, bias)]
        found = emit.emit("batch_norm_grad", (dy, x, weight, mean, rstd), op.attrs, names=names)
        return [*found, None, None]


class BatchNormGrad(OpKind):
    """The gradients of batch_norm's input, weight and bias, through the batch's statistics unless they are frozen.

    With n the normalised input and means taken over a run of images: dbias = sum of dy, dweight = sum of dy n,
    dx = weight * rstd * (dy - mean of dy - n * mean of (dy n)); under frozen statistics dx = weight * rstd * dy.
    """

    name = "batch_norm_grad"
    first_stage = "differentiated"

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        _, x, weight = types[:3]
        return x, weight, weight

    def cuts(self, types: Types, attrs: Attrs) -> tuple[Sequence[Cut], Sequence[Cut]]:
        return [1, 1, 0, 1, 1], [1, 0, 0]

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        dy, x, weight, mean, rstd = arrays
        slope = _by_run(dy, attrs)
        normal = (_by_run(x, attrs) - _spread(mean)) * _spread(rstd)
        dweight, dbias = (slope * normal).sum((0, 1, 3)), slope.sum((0, 1, 3))
        if attrs["stats"] == "batch":
            along = _spread((slope * normal).mean((1, 3)))
            slope = slope - _spread(slope.mean((1, 3))) - normal * along
        dx = slope * _spread(rstd) * weight[:, None]
        return dx.reshape(x.shape), dweight, dbias


def _check(x: TensorType, attrs: Attrs) -> None:
    if len(x.shape) not in (2, 4):
        raise ShapeError(f"expects maps [N, C, H, W] or vectors [N, C], and gets {x}")
    if attrs["stats"] == "frozen":
        return
    batch, over = x.shape[0], attrs["over"]
    if over and batch % over:
        raise ShapeError(
            f"over={over} must divide the batch of {batch}", "an over that divides the batch, or another batch"
        )
    if (over or batch) * prod(x.shape[2:]) < 2:
        raise ShapeError(f"a channel of {x} has one number to take a mean and a variance of", "a larger batch")


def _runs(shape: tuple[int, ...], attrs: Attrs) -> int:
    return shape[0] // attrs["over"] if attrs["over"] and attrs["stats"] == "batch" else 1


def _by_run(x: Array, attrs: Attrs) -> Array:
    """``x`` as [runs, images, C, pixels]."""
    runs = _runs(x.shape, attrs)
    return x.reshape(runs, x.shape[0] // runs, x.shape[1], -1)


def _spread(statistics: Array) -> Array:
    """[runs, C] statistics beside [runs, images, C, pixels]."""
    return statistics[:, None, :, None]


OPS = (BatchNorm(), BatchNormGrad())
