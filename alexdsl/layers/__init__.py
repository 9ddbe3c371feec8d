"""The layer kinds, one file each. A new kind is a file here and a line below."""

from __future__ import annotations

from importlib import import_module

from alexdsl.ir.protocol import OpKind
from alexdsl.layers.initialisers import INITIALISERS

KINDS = (
    "conv",
    "linear",
    "relu",
    "tanh",
    "sigmoid",
    "maxpool",
    "avgpool",
    "global_avgpool",
    "lrn",
    "batch_norm",
    "dropout",
    "flatten",
    "add",
    "concat",
    "scale",
    "softmax_cross_entropy",
    "topk",
)
OPS: tuple[OpKind, ...] = tuple(op for name in KINDS for op in import_module(f"{__name__}.{name}").OPS)

__all__ = ["INITIALISERS", "KINDS", "OPS"]
