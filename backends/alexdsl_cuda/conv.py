"""Convolution on CUDA: directly by its definition, a thread an output. Right, readable, and not yet fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import kernel, scalar_chain
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.ir.semantics import steps
from alexdsl.layers.window import axes
from alexdsl_cuda.dialect import CUDA, F1, Function, cuda, float32, int32
from alexdsl_cuda.offer import Call, Offer, blocks


@kernel
def conv(
    x: F1,
    weight: F1,
    bias: F1,
    other: F1,
    y: F1,
    count: int,
    channels: int,
    height: int,
    width: int,
    maps: int,
    rows: int,
    columns: int,
    *,
    GROUPS: int,
    BIAS: bool,
    EPILOGUE: Function,
    KH: int,
    KW: int,
    SH: int,
    SW: int,
    DH: int,
    DW: int,
    TOP: int,
    LEFT: int,
) -> None:
    """y = EPILOGUE(conv(x) + bias) of maps in NCHW, weights in OIHW; neighbouring threads make neighbouring pixels."""
    at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at >= count:
        return
    ox = int32(at % columns)
    oy = int32(at // columns % rows)
    f = int32(at // (columns * rows) % maps)
    n = int32(at // (columns * rows * maps))
    inputs = int32(channels // GROUPS)
    first = int32(n * channels + f // (maps // GROUPS) * inputs)
    total = float32(0.0)
    for c in range(inputs):
        for ky in range(KH):
            iy = int32(oy * SH + ky * DH - TOP)
            if 0 <= iy < height:
                image = int32(((first + c) * height + iy) * width)
                filter = int32(((f * inputs + c) * KH + ky) * KW)
                for kx in range(KW):
                    ix = int32(ox * SW + kx * DW - LEFT)
                    if 0 <= ix < width:
                        total += x[int32(image + ix)] * weight[int32(filter + kx)]
    if BIAS:
        total += bias[f]
    y[at] = EPILOGUE(total, other[at])


class Conv(Offer):
    """``conv``; an epilogue takes elementwise kinds, with at most one further operand."""

    heads = ("conv",)

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        tail = chain[1:]
        extras = sum(len(kind.scalar_operands) - 1 for kind in tail)
        return not keeps and all(kind.scalar is not None for kind in tail) and extras <= 1

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return (Strategy("direct"),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        members = steps(op.attrs)[1:] if "+" in op.kind else []
        attrs = op.attrs["steps"][0]["attrs"] if "+" in op.kind else op.attrs
        epilogue = scalar_chain([self.registry[m.kind] for m in members], [m.attrs for m in members], CUDA)
        names, result = [f"%{name}" for name in op.operands], f"%{op.name}"
        high, wide = axes(operands[0].shape, attrs)
        bias, extra = bool(attrs["bias"]), len(epilogue.args) == 2
        constants = {
            "GROUPS": attrs["groups"], "BIAS": bias,
            "EPILOGUE": epilogue if extra else replace(epilogue, args=(*epilogue.args, "_")),
            "KH": high.kernel, "KW": wide.kernel, "SH": high.stride, "SW": wide.stride,
            "DH": high.dilation, "DW": wide.dilation, "TOP": high.before, "LEFT": wide.before,
        }  # fmt: skip
        arrays = (names[0], names[1], names[2] if bias else names[1], names[-1] if extra else result, result)
        count = results[0].elements
        return [Call(conv, (*arrays, count, *operands[0].shape[1:], *results[0].shape[1:]), blocks(count), constants)]
