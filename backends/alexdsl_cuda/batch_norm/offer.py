"""How batch normalisation's kernels are called."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import KernelFunction
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cuda.batch_norm.backward import add_slopes, batch_norm_grad, slopes
from alexdsl_cuda.batch_norm.forward import frozen, moments, normalise, statistics
from alexdsl_cuda.batch_norm.rows import Cut, cut
from alexdsl_cuda.offer import Args, Call, Constants, Offer, extras, head_attrs, rows_of, scalars, tail
from alexdsl_cuda.quads import WARP, flat

MERGERS = 16
"""Threads that share the segments of a channel when these are put together."""


class BatchNorm(Offer):
    """``batch_norm`` and its gradient, for maps and vectors; an epilogue of elementwise kinds with no further operand
    follows ``batch_norm``."""

    heads = ("batch_norm", "batch_norm_grad")

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and chain[0].name == "batch_norm" and scalars(chain[1:]) and not extras(chain[1:])

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        return [rows_of(t) for t in operands], [rows_of(t) for t in results]

    def _cut(self, op: Op, operands: Types) -> Cut:
        x = operands[1 if op.kind == "batch_norm_grad" else 0]
        attrs = head_attrs(op)
        over = attrs["over"] if attrs["stats"] == "batch" else None
        runs = x.shape[0] // over if over else 1
        return cut(x.shape[1], runs, x.elements // x.shape[1] // runs)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        parts = self._cut(op, operands)
        if op.kind == "batch_norm_grad":
            return (Strategy("", 4 * (parts.parts + 2 * parts.runs * parts.channels)),)
        return (Strategy("", 4 * parts.parts if head_attrs(op)["stats"] == "batch" else 0),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names, made = [f"%{name}" for name in op.operands], [f"%{r.name}" for r in op.results]
        attrs = head_attrs(op)
        parts, batch = self._cut(op, operands), attrs["stats"] == "batch"
        threads = parts.runs * parts.rows * parts.channels // parts.size
        last = {name: parts.constants[name] for name in ("SIZE", "CHANNELS", "ROWS")}
        if op.kind == "batch_norm_grad":
            dy, x, weight, mean, rstd = names
            dx, dweight, dbias = made
            grad = {**last, "RUNS": parts.runs, "SEGMENTS": parts.segments, "BATCH": batch}
            return [
                _each(slopes, (dy, x, mean, rstd, "workspace"), parts),
                _merging(add_slopes, (dweight, dbias, "workspace"), parts),
                flat(batch_norm_grad, (dy, x, weight, mean, rstd, dx, "workspace"), threads, grad),
            ]
        x, weight, bias = names[:3]
        # What a chain's last member makes comes last.
        y, mean, rstd, running_mean, running_variance = (made[-1], *made[:-1]) if "+" in op.kind else made
        epsilon, kept = float(attrs["epsilon"]), (mean, rstd, running_mean, running_variance)
        first = [flat(frozen, (*kept, epsilon), parts.channels, {})]
        if batch:
            args = (*kept, "workspace", float(attrs["momentum"]), epsilon)
            first = [
                _each(moments, (x, "workspace"), parts),
                _merging(statistics, args, parts, LENGTH=parts.length),
            ]
        each: Constants = {**last, "EPILOGUE": tail(op, self.registry)}
        return [*first, flat(normalise, (x, weight, bias, mean, rstd, y), threads, each)]


def _each(function: KernelFunction, args: Args, parts: Cut) -> Call:
    """A call with a block for every segment."""
    return Call(function, args, (parts.blocks, 1, 1), parts.constants, (parts.threads, 1, 1))


def _merging(function: KernelFunction, args: Args, parts: Cut, **more: int) -> Call:
    """A call that puts segments together: blocks of neighbouring channels, and lines that share the segments."""
    columns, lines = min(parts.channels, WARP), min(parts.segments, MERGERS)
    constants = {
        "CHANNELS": parts.channels, "COLUMNS": columns, "LINES": lines, "RUNS": parts.runs, "ROWS": parts.rows,
        "SEGMENTS": parts.segments, "THREADS": columns * lines, **more,
    }  # fmt: skip
    return Call(function, args, (-(-parts.channels // columns), 1, 1), constants, (columns * lines, 1, 1))
