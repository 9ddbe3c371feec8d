"""What the CUDA kernels are tested on: every layer's samples, the fusions, and more for threads that move four numbers,
for several segments and blocks, and for the IR's own ops. Convolutions and linear layers are tested elsewhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import pytest

from alexdsl.ir.protocol import Array
from alexdsl.ir.types import TensorType, f32
from alexdsl.registry import registry
from tests.backends.chains import CHAINS, DROPOUT, SOLVING, STEPS, Builder, Chain, clipping, layer_ops, updates, values
from tests.layers.samples import SAMPLES, Sample

REGISTRY = registry()
PRODUCTS = ("conv", "conv_input_grad", "conv_weight_grad", "linear", "linear_input_grad", "linear_weight_grad")
"""Kinds whose kernels are tested beside theirs."""
NEEDS_NUMBA_CUDA = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None,
    reason="needs numba-cuda to compile kernels: pip install alexdsl[cuda]",
)
LABELS = TensorType("i32", (5,))


def attrs(kind: str, **given: Any) -> Mapping[str, Any]:
    """All attributes of a layer kind's op, defaults included."""
    return Sample(kind, given, ()).attrs


def pooled(shape: tuple[int, ...], **given: Any) -> Mapping[str, Any]:
    """The attributes of ``maxpool_grad`` for an input of this shape."""
    return {**attrs("maxpool", **given), "input": shape}


def build(**types: TensorType) -> Builder:
    return Builder(REGISTRY, **types)


def _pools(name: str, shape: tuple[int, ...], **given: Any) -> dict[str, Chain]:
    """Max and average pooling of these maps, and the gradients with an epilogue of another operand."""
    maps = f32(*shape)
    forward = build(x=maps).layer("maxpool", "x", "z i", **given)
    small, places = forward.types["z"], forward.types["i"]
    average = {**attrs("avgpool", **given), "input": shape}
    return {
        f"maxpool {name}": forward.chain(),
        f"maxpool_grad {name}": build(dy=small, i=places, y=maps)
        .op("maxpool_grad", "dy i", "dx", pooled(shape, **given)).op("relu_grad", "dx y", "dz", {}).chain(),
        f"avgpool {name}": build(x=maps).layer("avgpool", "x", "z", **given).chain(),
        f"avgpool_grad {name}": build(dy=small, y=maps)
        .op("avgpool_grad", "dy", "dx", average).op("tanh_grad", "dx y", "dz", {}).chain(),
    }  # fmt: skip


def _lrns(shape: tuple[int, ...], **given: Any) -> dict[str, Chain]:
    """Normalisation, alone and with pooling after it, forward and backward."""
    maps, lrn, pool = f32(*shape), attrs("lrn", alpha=0.3, **given), {"kernel": 3, "stride": 2}
    both = build(x=maps).layer("lrn", "x", "y", alpha=0.3, **given).layer("maxpool", "y", "z i", **pool)
    small, places = both.types["z"], both.types["i"]
    name = f"{shape[1]}x{shape[2]}x{shape[3]} {given}"
    return {
        f"lrn {name}": build(x=maps).op("lrn", "x", "y", lrn).chain(),
        f"lrn_grad {name}": build(dy=maps, x=maps, y=maps)
        .op("lrn_grad", "dy x", "dx", lrn).op("relu_grad", "dx y", "dz", {}).chain(),
        f"lrn+maxpool {name}": both.chain(),
        f"maxpool_grad+lrn_grad {name}": build(dy=small, i=places, x=maps)
        .op("maxpool_grad", "dy i", "dx", pooled(shape, **pool)).op("lrn_grad", "dx x", "dz", lrn)
        .op("relu_grad", "dz x", "du", {}).chain(),
    }  # fmt: skip


def _second_towers(shape: tuple[int, ...]) -> dict[str, Chain]:
    """Normalisation of the second half of all maps, with pooling of padded maps after it."""
    maps, own = f32(*shape), (shape[0], shape[1] // 2, *shape[2:])
    lrn, pool = {**attrs("lrn", alpha=0.3), "part": (1, 2)}, {"kernel": 3, "stride": 2, "pad": 1, "round": "ceil"}
    forward = build(x=maps).op("lrn", "x", "y", lrn).layer("maxpool", "y", "z i", **pool)
    small, places = forward.types["z"], forward.types["i"]
    backward = build(dy=small, i=places, x=maps, y=maps).op("maxpool_grad", "dy i", "dx", pooled(own, **pool))
    return {
        f"lrn+maxpool padded {shape}": forward.chain(),
        f"maxpool_grad+lrn_grad padded {shape}": backward.op("lrn_grad", "dx x", "dz", lrn)
        .op("tanh_grad", "dz y", "du", {}).chain(),
    }  # fmt: skip


def _norms(shape: tuple[int, ...], **given: Any) -> dict[str, Chain]:
    norm, x, channels = attrs("batch_norm", **given), f32(*shape), f32(shape[1])
    runs = shape[0] // given["over"] if "over" in given else 1
    kept, name = f32(runs, shape[1]), f"{'x'.join(map(str, shape))} {given}"
    forward = {"x": x, "w": channels, "b": channels, "m": channels, "v": channels}
    return {
        f"batch_norm {name}": build(**forward).op("batch_norm", "x w b m v", "y mean rstd m2 v2", norm).chain(),
        f"batch_norm+relu {name}": build(**forward)
        .op("batch_norm", "x w b m v", "y mean rstd m2 v2", norm).layer("relu", "y", "z")
        .chain("z", "mean", "rstd", "m2", "v2"),
        f"batch_norm_grad {name}": build(dy=x, x=x, w=channels, mean=kept, rstd=kept)
        .op("batch_norm_grad", "dy x w mean rstd", "dx dw db", norm).chain(),
    }  # fmt: skip


def _dropouts(shape: tuple[int, ...], part: tuple[int, int]) -> dict[str, Chain]:
    given = {**DROPOUT, "p": 0.3, "first": 2**31 + 5, "part": part}
    builder = build(dy=f32(*shape), s=STEPS, y=f32(*shape)).op("dropout_grad", "dy s", "dx", given)
    return {f"dropout_grad {shape} {part}": builder.op("relu_grad", "dx y", "dz", {}).chain()}


def _structure() -> dict[str, Chain]:
    maps, rows = f32(2, 8, 3, 5), f32(6, 4)
    parts = ((maps, 1, 4, 8), (maps, 1, 1, 4), (maps, 0, 1, 2), (rows, 0, 2, 5), (rows, 1, 1, 3))
    wholes = ((maps, 1), (maps, 0), (rows, 1), (TensorType("i32", (3,)), 0), (TensorType("u8", (2, 3, 2, 2)), 1))
    found = {
        f"slice {axis} {type} {start}": build(x=type)
        .op("slice", "x", "y", {"axis": axis, "start": start, "stop": stop}).chain()
        for type, axis, start, stop in parts
    }  # fmt: skip
    found |= {
        f"join {axis} {type}": build(a=type, b=type).op("join", "a b a", "y", {"axis": axis}).chain()
        for type, axis in wholes
    }
    for count in (2, 4, 5, 9):
        operands = " ".join("abc"[i % 3] for i in range(count))
        for kind in ("sum", "mean"):
            builder = build(a=maps, b=maps, c=maps).op(kind, operands, "y", {})
            found[f"{kind} of {count}"] = builder.chain()
    found["accumulate"] = build(t=rows, g=rows).op("accumulate", "t g", "y", {}).chain()
    found["constant"] = build(x=f32()).op("constant", "", "c", {"value": -1.5}).layer("add", "x c", "y").chain()
    for solver in SOLVING:
        found |= {f"{solver} {size}": updates(solver, size).chain() for size in (12, 7)}
        found[f"{solver} of several"] = updates(solver, 12, 2500, 7).chain()
    for size, limit in ((12, 0.5), (7, 100.0), (20_000, 0.5)):
        found[f"clip {size} {limit}"] = clipping(size, limit=limit).chain()
    for shape in ((2, 40, 3, 3), (1, 3, 12, 13), (1, 33, 11, 12)):
        flat = f32(shape[0], shape[1] * shape[2] * shape[3])
        found[f"flatten {shape}"] = build(x=f32(*shape)).layer("flatten", "x", "y").chain()
        found[f"flatten_grad {shape}"] = build(dy=flat).op("flatten_grad", "dy", "dx", {"input": shape}).chain()
    return found


def _rest() -> dict[str, Chain]:
    scores, maps = f32(5, 300), f32(2, 8, 4, 3)
    return {
        "losses": build(x=scores, l=LABELS).layer("softmax_cross_entropy", "x l", "y").chain(),
        "losses' gradient": build(d=f32(), x=scores, l=LABELS)
        .op("softmax_cross_entropy_grad", "d x l", "y", {}).chain(),
        "topk": build(x=scores, l=LABELS).layer("topk", "x l", "y", k=150).chain(),
        "add of six": build(a=maps, b=maps, c=maps)
        .layer("add", "a b c c b a", "y").op("relu_grad", "y b", "z", {}).chain(),
        "concat": build(a=maps, b=f32(2, 4, 4, 3)).layer("concat", "a b a", "y").chain(),
        "global_avgpool": build(x=maps).layer("global_avgpool", "x", "y").chain(),
        "global_avgpool_grad": build(dy=f32(2, 8), y=maps)
        .op("global_avgpool_grad", "dy", "dx", {"input": maps.shape}).op("relu_grad", "dx y", "dz", {}).chain(),
    }  # fmt: skip


WIDE: Mapping[str, Chain] = {
    **_pools("plain", (2, 8, 7, 9), kernel=3, stride=2),
    **_pools("padded", (1, 12, 6, 8), kernel=3, stride=2, pad=1, round="ceil"),
    **_pools("gaps", (2, 4, 8, 7), kernel=2, stride=3),
    **_pools("256 places", (1, 4, 17, 16), kernel=16, stride=1),
    **_lrns((2, 8, 9, 7)),
    **_lrns((1, 12, 7, 5), size=9),
    **_lrns((1, 8, 5, 6), size=4),
    **_lrns((1, 8, 3, 4), size=3, beta=0.5),
    **_lrns((2, 96, 5, 5), beta=0.6, per="mean"),
    **_lrns((1, 1, 3, 4100)),
    **_second_towers((2, 16, 6, 7)),
    **_second_towers((1, 6, 5, 4)),
    **_norms((6, 8, 16, 16)),
    **_norms((4, 160, 2, 3)),
    **_norms((2, 4, 96, 96)),
    **_norms((6, 8, 16, 12), over=2),
    **_norms((6, 8, 3, 2), stats="frozen"),
    **_norms((64, 36)),
    **_dropouts((2, 8, 4, 4), (0, 1)),
    **_dropouts((2, 5, 3, 7), (1, 2)),
    **_dropouts((2, 6, 5, 5), (2, 3)),
    **_dropouts((3, 64), (1, 2)),
    **_dropouts((3, 13), (1, 3)),
    **_structure(),
    **_rest(),
}
"""Chains beyond the samples; the last normalisation's rows are too long for a block's shared memory."""

SELDOM = (
    "pool-2x3x6x6", "pool-1x2x8x6", "pool-2x2x7x7", "pool-1x2x5x4", "pool-1x2x6x7", "pool-1x1x17x16", "pool-1x3x1x1",
    "pool-1x1x2x2", "towers=2-own", "pool 256 places", "lrn-2x3x2x2", "lrn-1x6x1x3", "lrn 12x7x5", "lrn_grad 12x7x5",
    "+maxpool 12x7x5", "lrn 8x3x4", "+maxpool 8x3x4", "+lrn_grad 8x3x4", "maxpool 8x5x6", "grad 8x5x6", "96x5x5",
    "padded (1, 6", "batch_norm-4x3x2x5", "batch_norm-5x4", "batch_norm-6x2x3x1", "batch_norm-3x2x2x2", "6x8x16x16",
    "4x160x2x3", "6x8x3x2", "(1, 33, 11, 12)", "of 9", "softmax_cross_entropy-1x3", "topk-3x3",
)  # fmt: skip
"""Parts of the names of cases that differ from others in numbers only, or that a fused one goes through as well."""


def every() -> dict[str, tuple[Chain, dict[str, Array]]]:
    """All cases by name, with values for their leaves."""
    found = {}
    for sample in SAMPLES:
        if sample.kind not in PRODUCTS:
            found |= {f"{chain.ops[0].kind} of {sample}": (chain, arrays) for chain, arrays in layer_ops(sample)}
    fused = {name: builder.chain() for name, builder in CHAINS.items() if name.split("+")[0] not in PRODUCTS}
    return found | {name: (chain, _values(chain)) for name, chain in {**fused, **WIDE}.items()}


def often(name: str) -> bool:
    """Whether a case is run by default."""
    return not any(part in name for part in SELDOM)


def _values(chain: Chain) -> dict[str, Array]:
    """Values for a chain's leaves; variances are positive."""
    found = values(chain)
    return {name: abs(array) + 0.5 if name in ("v", "rstd") else array for name, array in found.items()}
