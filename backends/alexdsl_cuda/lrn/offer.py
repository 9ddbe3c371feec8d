"""How the kernels of local response normalisation are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alexdsl.ir.backend import Gap, Strategy
from alexdsl.ir.graph import Attrs, Op
from alexdsl.ir.kernels import Scalar
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.ir.types import TensorType
from alexdsl.layers.window import pool_axes
from alexdsl_cuda.dialect import CUDA
from alexdsl_cuda.lrn.pixels import lrn, lrn_grad
from alexdsl_cuda.lrn.pooled import lrn_maxpool, maxpool_grad_lrn_grad
from alexdsl_cuda.maxpool import indexed, inside, maxpool, places_size, pool_constants
from alexdsl_cuda.offer import Args, Call, Constants, Offer, is_tail, tail, with_extra
from alexdsl_cuda.quads import flat, size_of, whole_warps

LEAST_THREADS, MOST_THREADS = 256, 512
"""Of a block that has whole pixels: more would have too few registers each."""
SHARED = 48 * 1024
"""Bytes of shared memory that a block may have without asking."""
QUADS = 8
"""Quads of shared memory that its banks deliver at once: those so far apart lie in the same banks."""
PIXEL, WINDOW = 1, 4
"""What a thread has to do for a pixel of x, and for a window of pixels, to each other."""
REPEATED = 0.08
"""The part of an image's rows that may be normalised twice, by blocks above and below."""


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
        x = _input(op, operands)
        if op.kind == "lrn+maxpool" and not self._rows(op, x, results):
            return (Strategy("apart", x.bytes // x.shape[1] * results[0].shape[1]),)
        if "lrn_grad" in op.kind and x.shape[1] // self._size(op, x, operands, results) > MOST_THREADS:
            raise Gap(f"the cuda backend has no kernel for '{op.kind}' (%{op.name}) of so many channels: {x}")
        return (Strategy(""),)

    def _size(self, op: Op, x: TensorType, operands: Types, results: Types) -> int:
        """How many channels a thread makes."""
        counts = (x.shape[1], x.shape[1] // _attrs(op).get("part", (0, 1))[1])
        if "maxpool" not in op.kind:
            return size_of(*counts)
        return places_size(results[1] if op.kind == "lrn+maxpool" else operands[1], *counts)

    def _constants(self, op: Op, x: TensorType, size: int) -> Constants:
        attrs, channels = _attrs(op), x.shape[1]
        tower, towers = attrs.get("part", (0, 1))
        span = attrs["size"]
        before = span // 2
        behind, ahead = (-(-reach // size) * size for reach in (before, span - 1 - before))
        return {
            "SIZE": size, "CHANNELS": channels, "OWN": channels // towers, "FIRST": tower * channels // towers,
            "SPAN": span, "BEFORE": before, "BEHIND": behind, "PIECES": (behind + ahead) // size + 1,
            "NEAR": behind + ahead + size,
            "ALPHA": _alpha(attrs), "K": float(attrs["k"]), "POWER": power(float(attrs["beta"])),
        }  # fmt: skip

    def _rows(self, op: Op, x: TensorType, results: Types) -> Mapping[str, int]:
        """How blocks share ``lrn+maxpool``: nothing where not even a thread's channels of KH rows fit into one."""
        rows, columns = pool_axes(x.shape, op.attrs["steps"][1]["attrs"])
        own = results[0].shape[1]
        size = self._size(op, x, (), results)
        # A row has room for what a window reaches over its left edge, and whole steps from window to window.
        room = -(-columns.before // columns.stride)
        steps = room + -(-columns.size // columns.stride)

        def numbers(chunk: int) -> int:
            return rows.kernel * steps * _step(chunk // size, columns.stride, size) * size

        most = min(own, MOST_THREADS * size)
        fitting = (c for c in range(size, most + 1, size) if own % c == 0 and 4 * numbers(c) <= SHARED)
        chunk = max(fitting, default=0)
        if not chunk:
            return {}
        parts = chunk // size
        step = _step(parts, columns.stride, size)
        overlap = max(0, rows.kernel - rows.stride)
        bands = min(rows.out, 1 + int(REPEATED * rows.size / overlap)) if overlap else rows.out
        high = -(-rows.out // bands)
        rounds = {columns.size: rows.stride * PIXEL, columns.out: WINDOW}
        return {
            "CHUNK": chunk, "PARTS": parts, "ROOM": room * columns.stride, "STEP": step, "PITCH": steps * step,
            "REACH": room * columns.stride - columns.before, "ROWS": high, "BANDS": -(-rows.out // high),
            "BLOCK": threads_of_block(parts, rounds), "SHARED": -(-numbers(chunk) // 4),
        }  # fmt: skip

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made = [f"%{name}" for name in op.operands], [f"%{r.name}" for r in op.results]
        x, members = _input(op, operands), op.kind.split("+")
        size = self._size(op, x, operands, results)
        constants = self._constants(op, x, size)
        if op.kind == "lrn":
            return [flat(lrn, (*names, *made), results[0].elements // size, constants)]
        if op.kind == "lrn+maxpool":
            return self._pooled(op, x, results, constants, size)
        pooled = members[0] == "maxpool_grad"
        epilogue = tail(op, self.registry, 2 if pooled else 1)
        own, rest = (names[:3], names[3:]) if pooled else (names[:2], names[2:])
        other = rest[0] if rest else made[0]
        attrs, parts = _attrs(op), x.shape[1] // size
        after = attrs["size"] - 1 - attrs["size"] // 2
        pixels, width = x.elements // x.shape[1], x.shape[3]
        block = threads_of_block(parts, {width if pooled else pixels: PIXEL})
        constants = {
            **constants, "EPILOGUE": with_extra(epilogue), "PARTS": parts, "BLOCK": block,
            "SHARED": -(-size * block // 4), "AFTER": after, "AHEAD": -(-after // size) * size,
            "SAME": other == own[-1], "FACTOR": 2 * _alpha(attrs) * float(attrs["beta"]),
        }  # fmt: skip
        args: Args = (*own, other, *made)
        if not pooled:
            return [Call(lrn_grad, (*args, pixels), (-(-pixels * parts // block), 1, 1), constants, (block, 1, 1))]
        across = -(-width * parts // block)
        constants = {**constants, **_window(x, op.attrs["steps"][0]["attrs"]), "ACROSS": across}
        function = indexed(maxpool_grad_lrn_grad, operands[1], size)
        return [Call(function, args, (x.shape[0] * across, x.shape[2], 1), constants, (block, 1, 1))]

    def _pooled(self, op: Op, x: TensorType, results: Types, constants: Constants, size: int) -> Sequence[Call]:
        """``lrn+maxpool`` in one call; in two where a block cannot hold the rows between them."""
        names, made = [f"%{name}" for name in op.operands], [f"%{r.name}" for r in op.results]
        attrs = op.attrs["steps"][1]["attrs"]
        window = {**_window(x, attrs), "INSIDE": inside(*pool_axes(x.shape, attrs))}
        shared, own = self._rows(op, x, results), results[0].shape[1]
        if shared:
            grid = (x.shape[0] * shared["BANDS"] * own // shared["CHUNK"], 1, 1)
            function = indexed(lrn_maxpool, results[1], size)
            return [Call(function, (*names, *made), grid, {**constants, **window, **shared}, (shared["BLOCK"], 1, 1))]
        normal = x.elements // x.shape[1] * own
        pool = {**window, "SIZE": size, "CHANNELS": own}
        return [
            flat(lrn, (*names, "workspace"), normal // size, constants),
            flat(indexed(maxpool, results[1], size), ("workspace", *made), results[0].elements // size, pool),
        ]


def threads_of_block(parts: int, rounds: Mapping[int, int]) -> int:
    """The threads of a block of whole pixels, ``parts`` threads each, that leaves fewest idle.

    ``rounds`` has what a block works through, so many pixels each time, and a thread's instructions for one.
    """

    def cost(pixels: int) -> int:
        """Instructions of a block's warps."""
        return whole_warps(parts * pixels) * sum(-(-count // pixels) * each for count, each in rounds.items())

    few = min(-(-LEAST_THREADS // parts), max(rounds))
    return parts * min(range(few, max(few, MOST_THREADS // parts) + 1), key=cost)


def _step(parts: int, stride: int, size: int) -> int:
    """Quads (or numbers) from the columns of a window to those of the next, ``stride`` columns of so many each.

    A warp's quads that follow each other lie in different banks. So do those of neighbouring windows that follow each
    other, if they lie apart as far as neighbouring columns do, but for whole rounds of the banks.
    """
    return stride * parts + ((parts - stride * parts) % QUADS if size == 4 else 0)


def _input(op: Op, operands: Types) -> TensorType:
    return operands[{"lrn": 0, "lrn_grad": 1, "maxpool_grad": 2}[op.kind.split("+")[0]]]


def _attrs(op: Op) -> Attrs:
    """The attributes of the member that normalises."""
    if "+" not in op.kind:
        return op.attrs
    found: Attrs = next(s["attrs"] for s in op.attrs["steps"] if s["kind"] in ("lrn", "lrn_grad"))
    return found


def _alpha(attrs: Attrs) -> float:
    return float(attrs["alpha"]) / (attrs["size"] if attrs["per"] == "mean" else 1)


def _window(maps: TensorType, attrs: Attrs) -> dict[str, int]:
    rows, columns = pool_axes(maps.shape, attrs)
    return {**pool_constants(rows, columns), "HEIGHT": rows.size, "WIDTH": columns.size}


def power(beta: float) -> Scalar:
    """(r r) ** beta of r = 1 / sqrt(s), by square roots where they do."""
    roots = {0.5: "r", 0.75: "r * root(r)", 1.0: "r * r"}
    return Scalar(("r",), (), roots.get(beta, f"math.exp({CUDA.number(2 * beta)} * math.log(r))"))
