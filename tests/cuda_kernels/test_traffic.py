"""What the kernels move, at shapes of real nets with few images: counted by the emulator in their real PTX."""

from __future__ import annotations

import numpy as np
import pytest
from alexdsl_cuda import backend

from alexdsl.ir.types import TensorType, f32
from tests.backends.chains import DROPOUT, STEPS, Chain, Target, values
from tests.cuda_kernels.cases import NEEDS_NUMBA_CUDA, REGISTRY, attrs, build, pooled

EMULATOR = Target(backend, "emu")
POOL = {"kernel": 3, "stride": 2}
LRN = attrs("lrn")
FIRST, SECOND, FIFTH = (1, 48, 55, 55), (1, 128, 27, 27), (2, 128, 13, 13)
STEM = (1, 64, 112, 112)


def _forward(shape: tuple[int, ...]) -> Chain:
    return build(x=f32(*shape)).layer("lrn", "x", "y").layer("maxpool", "y", "z i", **POOL).chain()


def _backward(shape: tuple[int, ...], small: tuple[int, ...]) -> Chain:
    maps = f32(*shape)
    builder = build(dy=f32(*small), i=TensorType("u8", small), x=maps)
    builder = builder.op("maxpool_grad", "dy i", "dx", pooled(shape, **POOL)).op("lrn_grad", "dx x", "dz", LRN)
    return builder.op("relu_grad", "dz x", "du", {}).chain()


def _unpooled(shape: tuple[int, ...], small: tuple[int, ...], **given: int) -> Chain:
    builder = build(dy=f32(*small), i=TensorType("u8", small), y=f32(*shape))
    return builder.op("maxpool_grad", "dy i", "dx", pooled(shape, **given)).op("relu_grad", "dx y", "dz", {}).chain()


def _norm(shape: tuple[int, ...], relu: bool = False) -> Chain:
    c = f32(shape[1])
    builder = build(x=f32(*shape), w=c, b=c, m=c, v=c)
    builder = builder.op("batch_norm", "x w b m v", "y mean rstd m2 v2", attrs("batch_norm"))
    return (builder.layer("relu", "y", "z") if relu else builder).chain()


def _norm_grad(shape: tuple[int, ...]) -> Chain:
    kept = f32(1, shape[1])
    builder = build(dy=f32(*shape), x=f32(*shape), w=f32(shape[1]), mean=kept, rstd=kept)
    return builder.op("batch_norm_grad", "dy x w mean rstd", "dx dw db", attrs("batch_norm")).chain()


MAPS = f32(2, 64, 14, 14)
CASES = {
    "lrn+maxpool of conv1": (_forward(FIRST), 1.0),
    "lrn+maxpool of conv2": (_forward(SECOND), 1.0),
    "their gradient in conv1": (_backward(FIRST, (1, 48, 27, 27)), 1.0),
    "their gradient in conv2": (_backward(SECOND, (1, 128, 13, 13)), 1.0),
    "maxpool of conv5": (build(x=f32(*FIFTH)).layer("maxpool", "x", "z i", **POOL).chain(), 1.0),
    "its gradient": (_unpooled(FIFTH, (2, 128, 6, 6), **POOL), 1.0),
    "maxpool of ResNet": (build(x=f32(*STEM)).layer("maxpool", "x", "z i", **POOL, pad=1).chain(), 1.0),
    "the gradient of ResNet's": (_unpooled(STEM, (1, 64, 56, 56), **POOL, pad=1), 1.0),
    "avgpool": (build(x=f32(4, 16, 10, 10)).layer("avgpool", "x", "y", kernel=2).chain(), 1.0),
    "global_avgpool": (build(x=f32(2, 512, 7, 7)).layer("global_avgpool", "x", "y").chain(), 1.0),
    "its gradient too": (
        build(dy=f32(2, 512)).op("global_avgpool_grad", "dy", "dx", {"input": (2, 512, 7, 7)}).chain(), 1.0
    ),
    "flatten": (build(x=f32(2, 256, 6, 6)).layer("flatten", "x", "y").chain(), 1.0),
    "flatten of an odd number of pixels": (build(x=f32(1, 512, 7, 7)).layer("flatten", "x", "y").chain(), 1.0),
    "flatten_grad": (build(x=f32(2, 9216)).op("flatten_grad", "x", "y", {"input": (2, 256, 6, 6)}).chain(), 1.0),
    "dropout": (build(x=f32(4, 4096), s=STEPS).op("dropout", "x s", "y", DROPOUT).chain(), 1.0),
    "dropout of maps": (build(x=f32(4, 64, 13, 13), s=STEPS).op("dropout", "x s", "y", DROPOUT).chain(), 1.0),
    "add of three": (build(a=MAPS, b=MAPS, c=MAPS).layer("add", "a b c", "y").layer("relu", "y", "z").chain(), 1.0),
    "tanh": (build(x=f32(3, 1111)).layer("tanh", "x", "y").chain(), 1.0),
    "concat": (build(a=MAPS, b=MAPS).layer("concat", "a b", "y").chain(), 1.0),
    # x, or dy and x, once more than a pass over them would: statistics first.
    "batch_norm": (_norm((8, 64, 28, 28)), 1.5),
    "batch_norm and relu": (_norm((8, 64, 28, 28), relu=True), 1.5),
    "batch_norm of few pixels": (_norm((16, 512, 7, 7)), 1.5),
    "batch_norm_grad": (_norm_grad((8, 64, 28, 28)), 5 / 3),
}  # fmt: skip
"""Chains, and the passes over their operands and results that they cannot do without."""
SELDOM = (
    "lrn+maxpool of conv2", "maxpool of conv5", "its gradient", "avgpool", "global_avgpool", "its gradient too",
    "flatten_grad", "dropout", "concat", "batch_norm of few pixels",
)  # fmt: skip
"""Cases of kernels that others are of, too."""


@NEEDS_NUMBA_CUDA
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SELDOM else ()) for n in CASES])
def test_kernels_move_little_more_than_they_must(name: str) -> None:
    from tests.cuda_kernels.checked import run_checked

    chain, passes = CASES[name]
    program = chain.program(EMULATOR)
    arrays = {k: np.abs(v) + 0.5 if k in ("v", "rstd") else v for k, v in values(chain).items()}
    checked = run_checked(program, REGISTRY, arrays)
    counts = [report.counts for _, report in checked.reports]
    op = program.ops[-1]
    must = sum(type.bytes for type in program.types(dict.fromkeys([*op.operands, *(r.name for r in op.results)])))
    moved = sum(c.bytes_read + c.bytes_written for c in counts)
    assert moved <= 1.1 * passes * must
    sectors, ideal = (sum(numbers) for numbers in zip(*(c.transfers("global") for c in counts), strict=True))
    assert sectors <= 1.1 * ideal
    wavefronts, ideal = (sum(numbers) for numbers in zip(*(c.transfers("shared") for c in counts), strict=True))
    assert wavefronts <= 1.05 * ideal
    stores = [a for c in counts for a in c.accesses if a.space == "global" and a.opcode.startswith("st")]
    assert sum(a.transfers for a in stores) <= 1.15 * sum(a.ideal for a in stores)
