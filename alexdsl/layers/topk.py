"""Top-k accuracy, a metric: how often the right class is among the k highest scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Parameter, Whole
from alexdsl.ir.protocol import Array, LayerKind, ShapeError, Types
from alexdsl.ir.types import TensorType, f32


class TopK(LayerKind):
    """Top-k accuracy: the part of the batch whose label is among the ``k`` highest scores; ties go to the first class.

    ``top1`` and ``top5`` are short for k = 1 and k = 5; a label of -1 counts as a miss. It has no gradient.
    """

    name = "topk"
    parameters = (Parameter("k", Whole(1), doc="how many scores count"),)
    aliases = {"top1": {"k": 1}, "top5": {"k": 5}}  # noqa: RUF012
    metric = True

    def infer(self, types: Types, attrs: Attrs) -> Sequence[TensorType]:
        if len(types[0].shape) != 2:
            raise ShapeError(f"expects scores [N, classes], and gets {types[0]}")
        return (f32(),)

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        scores, label = arrays
        classes = np.arange(scores.shape[1])
        hits = 0
        for row, right in zip(scores, label, strict=True):
            if right >= 0:
                # A class stands before the right one if it scores more, or as much with a lower index.
                before = (row > row[right]) | ((row == row[right]) & (classes < right))
                hits += int(before.sum() < attrs["k"])
        return (np.asarray(hits / len(scores), np.float32),)


OPS = (TopK(),)
