"""Local response normalisation on the CPU, pixel by pixel along the channels; alone and with max pooling after it."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.kernels import Scalar, kernel
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.window import pool_axes
from alexdsl_cpu.dialect import CPU, F1, F2, F4, U4, Function, f32
from alexdsl_cpu.maxpool import index_type, max_row, max_row_grad, pool_constants
from alexdsl_cpu.offer import (
    Args,
    Call,
    Constants,
    Offer,
    is_tail,
    padded,
    per_worker,
    retyped,
    tail,
    with_extra,
)

STRIP = 8
"""Pixels whose squares are made before they are read: a sum of neighbours that reads what was just written waits."""
BLOCK = 64
"""Pixels of a unit of work."""


@kernel
def lrn_pixels(x: F2, y: F2, squares: F2, *, SIZE, BEFORE, FIRST, ALPHA, K, POWER: Function):
    """y = x POWER(K + ALPHA S) for pixels x[pixel, channel]; y's channels begin at x's ``FIRST``."""
    pixels, channels = x.shape
    strip = squares.shape[0]
    for first in range(0, pixels, strip):
        count = min(strip, pixels - first)
        for pixel in range(count):
            row, square = x[first + pixel], squares[pixel, BEFORE:]
            for c in range(channels):
                square[c] = row[c] * row[c]
        for pixel in range(count):
            row, out, square = x[first + pixel, FIRST:], y[first + pixel], squares[pixel, FIRST:]
            for c in range(y.shape[1]):
                total = square[c]
                for near in range(1, SIZE):
                    total += square[c + near]
                out[c] = row[c] * POWER(K + ALPHA * total)


@kernel
def lrn_grad_pixels(
    dy: F2, x: F2, other: F2, dx: F2, squares: F2, terms: F2, *, SIZE, BEFORE, FIRST, PART, ALPHA, K, FACTOR,
    POWER: Function, EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(the gradient): every channel's own part, less what its neighbours' strengths owe to it."""
    pixels, channels = x.shape
    strip, after = squares.shape[0], SIZE - 1 - BEFORE
    for first in range(0, pixels, strip):
        count = min(strip, pixels - first)
        for pixel in range(count):
            row, square = x[first + pixel], squares[pixel, BEFORE:]
            for c in range(channels):
                square[c] = row[c] * row[c]
        for pixel in range(count):
            if PART:
                whole = dx[first + pixel]
                for c in range(channels):
                    whole[c] = f32(0.0)
            row, grad, out = x[first + pixel, FIRST:], dy[first + pixel], dx[first + pixel, FIRST:]
            square, term = squares[pixel, FIRST:], terms[pixel, FIRST + after :]
            for c in range(dy.shape[1]):
                total = square[c]
                for near in range(1, SIZE):
                    total += square[c + near]
                strength = K + ALPHA * total
                scaled = grad[c] * POWER(strength)
                out[c] = scaled
                term[c] = scaled * row[c] / strength
        for pixel in range(count):
            row, out, term = x[first + pixel], dx[first + pixel], terms[pixel]
            extra = other[first + pixel]
            for c in range(channels):
                total = term[c]
                for near in range(1, SIZE):
                    total += term[c + near]
                out[c] = EPILOGUE(out[c] - FACTOR * row[c] * total, extra[c])


@kernel
def zeros(work: F1):
    """work = 0."""
    for i in range(work.size):
        work[i] = f32(0.0)


@kernel
def lrn(
    lo: int, hi: int, slot: int, x: F4, y: F4, work: F1, share: int, *, BLOCK, STRIP, SIZE, BEFORE, FIRST, ALPHA, K,
    POWER: Function,
):  # fmt: skip
    """y = x / (k + alpha S) ** beta; a unit is a block of pixels."""
    channels, pixels = x.shape[3], x.shape[0] * x.shape[1] * x.shape[2]
    wide = channels + SIZE - 1
    mine = work[slot * share : (slot + 1) * share]
    zeros(mine)
    squares = mine[: STRIP * wide].reshape(STRIP, wide)
    source, target = x.reshape(pixels, channels), y.reshape(pixels, y.shape[3])
    for unit in range(lo, hi):
        first, last = unit * BLOCK, min((unit + 1) * BLOCK, pixels)
        lrn_pixels(source[first:last], target[first:last], squares)


@kernel
def lrn_grad(
    lo: int, hi: int, slot: int, dy: F4, x: F4, other: F4, dx: F4, work: F1, share: int, *, BLOCK, STRIP, SIZE,
    BEFORE, FIRST, PART, ALPHA, K, FACTOR, POWER: Function, EPILOGUE: Function,
):  # fmt: skip
    """dx = EPILOGUE(lrn's gradient); a unit is a block of pixels."""
    channels, pixels = x.shape[3], x.shape[0] * x.shape[1] * x.shape[2]
    wide = channels + SIZE - 1
    mine = work[slot * share : (slot + 1) * share]
    zeros(mine)
    squares = mine[: STRIP * wide].reshape(STRIP, wide)
    terms = mine[STRIP * wide : 2 * STRIP * wide].reshape(STRIP, wide)
    grad, source = dy.reshape(pixels, dy.shape[3]), x.reshape(pixels, channels)
    extra, target = other.reshape(pixels, channels), dx.reshape(pixels, channels)
    for unit in range(lo, hi):
        first, last = unit * BLOCK, min((unit + 1) * BLOCK, pixels)
        lrn_grad_pixels(grad[first:last], source[first:last], extra[first:last], target[first:last], squares, terms)


@kernel
def lrn_maxpool(
    lo: int, hi: int, slot: int, x: F4, y: F4, index: U4, work: F1, share: int, *, STRIP, SIZE, BEFORE, FIRST, ALPHA,
    K, POWER: Function, KH, KW, SH, SW, TOP, LEFT,
):  # fmt: skip
    """Max pooling of the normalised maps, which only the worker's scratch ever holds; a unit is an image."""
    height, width, channels = x.shape[1:]
    wide, own = channels + SIZE - 1, y.shape[3]
    mine = work[slot * share : (slot + 1) * share]
    zeros(mine[: STRIP * wide])
    squares = mine[: STRIP * wide].reshape(STRIP, wide)
    normal = mine[STRIP * wide : STRIP * wide + height * width * own]
    for n in range(lo, hi):
        lrn_pixels(x[n].reshape(height * width, channels), normal.reshape(height * width, own), squares)
        for oy in range(y.shape[1]):
            max_row(normal.reshape(height, width, own), oy, y[n, oy], index[n, oy])


@kernel
def maxpool_grad_lrn_grad(
    lo: int, hi: int, slot: int, dy: F4, index: U4, x: F4, other: F4, dx: F4, work: F1, share: int, *, STRIP, SIZE,
    BEFORE, FIRST, PART, ALPHA, K, FACTOR, POWER: Function, EPILOGUE: Function, KH, KW, SH, SW, TOP, LEFT,
):  # fmt: skip
    """dx = EPILOGUE(lrn's gradient of what the pixels won); a unit is a row of pixels."""
    height, width, channels = x.shape[1:]
    wide, own = channels + SIZE - 1, dy.shape[3]
    mine = work[slot * share : (slot + 1) * share]
    zeros(mine[: 2 * STRIP * wide])
    squares = mine[: STRIP * wide].reshape(STRIP, wide)
    terms = mine[STRIP * wide : 2 * STRIP * wide].reshape(STRIP, wide)
    won = mine[2 * STRIP * wide : 2 * STRIP * wide + width * own].reshape(width, own)
    for unit in range(lo, hi):
        n, iy = unit // height, unit % height
        max_row_grad(dy[n], index[n], iy, won)
        lrn_grad_pixels(won, x[n, iy], other[n, iy], dx[n, iy], squares, terms)


def power(beta: float) -> Scalar:
    """s ** -beta, by square roots where they do."""
    roots = {0.5: "math.sqrt(s)", 0.75: "math.sqrt(s * math.sqrt(s))", 1.0: "s"}
    if beta in roots:
        return Scalar(("s",), (), f"{CPU.number(1.0)} / {roots[beta]}")
    return Scalar(("s",), (), f"math.exp({CPU.number(-beta)} * math.log(s))")


class Lrn(Offer):
    """``lrn``, its gradient with an epilogue of at most one further operand, and both with max pooling after lrn."""

    heads = ("lrn", "lrn_grad", "maxpool_grad+lrn_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        if keeps:
            return False
        names, rest = [kind.name for kind in chain], list(chain[1:])
        if names[0] == "maxpool_grad" and names[1:2] == ["lrn_grad"]:
            rest = rest[1:]
        elif names[0] != "lrn_grad":
            return names == ["lrn", "maxpool"]
        return is_tail(rest)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return (Strategy("", per_worker(self._share(op, operands, results))),)

    def _share(self, op: Op, operands: Types, results: Types) -> int:
        """float32 numbers of a worker's scratch: squares, terms, and maps between the members of a chain."""
        x = self._input(op, operands)
        squares = STRIP * (x.shape[1] + self._attrs(op)["size"] - 1)
        if op.kind == "lrn":
            return padded(squares)
        if op.kind == "lrn+maxpool":
            return padded(squares + results[0].shape[1] * x.shape[2] * x.shape[3])
        won = operands[0].shape[1] * x.shape[3] if op.kind.startswith("maxpool_grad") else 0
        return padded(2 * squares + won)

    def _input(self, op: Op, operands: Types) -> TensorType:
        return operands[{"lrn": 0, "lrn_grad": 1, "maxpool_grad": 2}[op.kind.split("+")[0]]]

    def _attrs(self, op: Op) -> Attrs:
        """The attributes of the member that normalises."""
        if "+" not in op.kind:
            return op.attrs
        found: Attrs = next(s["attrs"] for s in op.attrs["steps"] if s["kind"] in ("lrn", "lrn_grad"))
        return found

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        made = [f"%{r.name}" for r in op.results]
        x, attrs, members = self._input(op, operands), self._attrs(op), op.kind.split("+")
        images, channels, height, width = x.shape
        tower, towers = attrs.get("part", (0, 1))
        alpha = float(attrs["alpha"]) / (attrs["size"] if attrs["per"] == "mean" else 1)
        constants: Constants = {
            "STRIP": STRIP, "SIZE": attrs["size"], "BEFORE": attrs["size"] // 2, "FIRST": tower * channels // towers,
            "ALPHA": alpha, "K": float(attrs["k"]), "POWER": power(float(attrs["beta"])),
        }  # fmt: skip
        scratch = ("workspace", self._share(op, operands, results))
        blocks = -(-images * height * width // BLOCK)
        if op.kind == "lrn":
            return [Call(lrn, (*names, *made, *scratch), blocks, {**constants, "BLOCK": BLOCK}, grain=4)]
        if op.kind == "lrn+maxpool":
            window = pool_constants(*pool_axes(x.shape, op.attrs["steps"][1]["attrs"]))
            function = retyped(lrn_maxpool, index=index_type(results[1].dtype))
            return [Call(function, (*names, *made, *scratch), images, {**constants, **window})]
        pooled = members[0] == "maxpool_grad"
        epilogue = tail(op, self.registry, 2 if pooled else 1)
        factor = 2 * alpha * float(attrs["beta"])
        constants = {**constants, "PART": towers > 1, "FACTOR": factor, "EPILOGUE": with_extra(epilogue)}
        own = names[: 3 if pooled else 2]
        args: Args = (*own, names[-1] if len(epilogue.args) == 2 else made[0], *made, *scratch)
        if not pooled:
            return [Call(lrn_grad, args, blocks, {**constants, "BLOCK": BLOCK}, grain=4)]
        window = pool_constants(*pool_axes(x.shape, op.attrs["steps"][0]["attrs"]))
        function = retyped(maxpool_grad_lrn_grad, index=index_type(operands[1].dtype))
        return [Call(function, args, images * height, {**constants, **window})]
