"""The kernel files of the CUDA backend. Kernels for a new layer kind are a file beside this one and a line below."""

from __future__ import annotations

KERNEL_FILES = (
    "adam.Adam",
    "add.Add",
    "avgpool.AvgPool",
    "batch_norm.offer.BatchNorm",
    "clip.Clip",
    "concat.Concat",
    "conv.Conv",
    "dropout.Dropout",
    "flatten.Flatten",
    "global_avgpool.GlobalAvgPool",
    "linear.Linear",
    "lrn.offer.Lrn",
    "maxpool.MaxPool",
    "sgd.Sgd",
    "softmax_cross_entropy.SoftmaxCrossEntropy",
    "structure.Structure",
    "topk.TopK",
    "elementwise.Elementwise",
)
