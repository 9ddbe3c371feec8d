"""The weight gradient by Winograd's tiles: where its workspace holds what, and its launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alexdsl_cpu.conv.transforms import ONES, PAST, line, transforms, transpose
from alexdsl_cpu.conv.winograd_kernels import winograd_fold, winograd_sums, winograd_tiles
from alexdsl_cpu.conv.winograd_plan import TILES, Plan, up
from alexdsl_cpu.dialect import LANES
from alexdsl_cpu.offer import SLOTS, Args, Call, Constants
from alexdsl_cpu.product import block


@dataclass(frozen=True)
class Sums:
    """Where a weight gradient's workspace holds what: points of gradients and of inputs, their products' sums, the
    sums of gradients, and the workers' scratch."""

    plan: Plan

    @property
    def grads_apart(self) -> int:
        return self.plan.chunk * self.plan.deep + LANES

    @property
    def inputs_at(self) -> int:
        # Rows of products are rounded up to whole blocks: the last reads a little beyond.
        return self.plan.points * self.grads_apart + LANES

    @property
    def inputs_apart(self) -> int:
        return self.plan.chunk * self.plan.broad + LANES

    @property
    def sums_at(self) -> int:
        return self.inputs_at + self.plan.points * self.inputs_apart

    @property
    def sums_apart(self) -> int:
        return up(self.plan.outputs, self.plan.rows) * self.plan.broad + LANES

    @property
    def bias_at(self) -> int:
        return self.sums_at + self.plan.points * self.sums_apart

    @property
    def scratch_at(self) -> int:
        return self.bias_at + self.plan.deep

    @property
    def end(self) -> int:
        return self.scratch_at + SLOTS * self.plan.scratch


def weight_grad(plan: Plan, names: Sequence[str], made: Sequence[str]) -> Sequence[Call]:
    """Chunk by chunk: the tiles of inputs and of gradients, then their products; at last the filters."""
    shape, at, matrices = plan.shape, Sums(plan), transforms(plan.step, plan.taps)
    x, dy = names
    inputs, grads = plan.sheet.sizes, replace(plan.sheet, top=0, left=0).sizes
    scratch = (at.scratch_at, plan.scratch)
    tiles: Constants = {"STEP": plan.step, "POINTS": plan.side, "TILES": TILES}
    read, spread = (
        {**tiles, "SPREAD": line(matrix), "LAST": line(matrix, PAST)}
        for matrix in (matrices.input, transpose(matrices.output))
    )
    multiply: Constants = {
        "ROWS": plan.rows, "WIDE": plan.wide, "BLOCK": block(plan.rows, plan.vectors),
        "ONES": ONES * (plan.side + 1),
    }  # fmt: skip
    fold: Constants = {
        "TAPS": plan.taps, "POINTS": plan.side, "GATHER": line(transpose(matrices.kernel)), "BIAS": len(made) == 2,
    }  # fmt: skip
    found = []
    for group in range(shape.groups):
        channel, filter = group * shape.inputs, group * shape.filters
        for first in range(0, plan.sheet.tiles, plan.chunk):
            count = min(plan.chunk, plan.sheet.tiles - first)
            for source, width, start, size, to, row, apart, places, constants in (
                (x, shape.inputs, channel, plan.side, at.inputs_at, plan.broad, at.inputs_apart, inputs, read),
                (dy, shape.filters, filter, plan.step, 0, plan.deep, at.grads_apart, grads, spread),
            ):
                args: Args = (
                    source, "workspace", first, count, start, width, size, to, row, apart, *scratch, *places,
                )  # fmt: skip
                found.append(Call(winograd_tiles, args, -(-count // TILES), constants))
            args = (
                "workspace", count, 0, plan.deep, at.grads_apart, at.inputs_at, plan.broad, at.inputs_apart,
                at.sums_at, at.sums_apart, at.bias_at, shape.filters, int(first > 0),
            )  # fmt: skip
            found.append(Call(winograd_sums, args, plan.points, multiply))
        args = (
            made[0], made[-1], "workspace", at.sums_at, plan.broad, at.sums_apart, at.bias_at, shape.inputs, filter,
            *scratch,
        )  # fmt: skip
        found.append(Call(winograd_fold, args, shape.filters, fold))
    return found
