"""The layer kinds, one file each. A new kind is a file here and a line below."""

from __future__ import annotations

from alexdsl.ir.protocol import OpKind
from alexdsl.layers import (
    add,
    avgpool,
    batch_norm,
    concat,
    conv,
    dropout,
    flatten,
    global_avgpool,
    linear,
    lrn,
    maxpool,
    relu,
    scale,
    sigmoid,
    softmax_cross_entropy,
    tanh,
    topk,
)
from alexdsl.layers.initialisers import INITIALISERS

OPS: tuple[OpKind, ...] = (
    *conv.OPS,
    *linear.OPS,
    *relu.OPS,
    *tanh.OPS,
    *sigmoid.OPS,
    *maxpool.OPS,
    *avgpool.OPS,
    *global_avgpool.OPS,
    *lrn.OPS,
    *batch_norm.OPS,
    *dropout.OPS,
    *flatten.OPS,
    *add.OPS,
    *concat.OPS,
    *scale.OPS,
    *softmax_cross_entropy.OPS,
    *topk.OPS,
)

__all__ = ["INITIALISERS", "OPS"]
