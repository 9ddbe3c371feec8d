"""The kernel files of the CPU backend. Kernels for a new layer kind are a file beside this one and a line below."""

from __future__ import annotations

from alexdsl_cpu.add import Add
from alexdsl_cpu.avgpool import AvgPool
from alexdsl_cpu.batch_norm import BatchNorm
from alexdsl_cpu.concat import Concat
from alexdsl_cpu.conv import Conv
from alexdsl_cpu.dropout import Dropout
from alexdsl_cpu.elementwise import Elementwise
from alexdsl_cpu.flatten import Flatten
from alexdsl_cpu.global_avgpool import GlobalAvgPool
from alexdsl_cpu.linear import Linear
from alexdsl_cpu.lrn import Lrn
from alexdsl_cpu.maxpool import MaxPool
from alexdsl_cpu.sgd import Sgd
from alexdsl_cpu.softmax_cross_entropy import SoftmaxCrossEntropy
from alexdsl_cpu.structure import Structure
from alexdsl_cpu.topk import TopK

KERNEL_FILES = (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    Lrn,
    MaxPool,
    Sgd,
    SoftmaxCrossEntropy,
    Structure,
    TopK,
    Elementwise,
)
