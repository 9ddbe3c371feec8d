"""Winograd's convolution of many channels, by stages: tiles, then the products of one point after the other, then back.

Filters of many channels do not stay in a cache: a block of tiles at a time would read all of them from memory again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alexdsl_cpu.conv.transforms import PAST, line, transforms
from alexdsl_cpu.conv.winograd_kernels import winograd_back, winograd_points, winograd_tiles
from alexdsl_cpu.conv.winograd_plan import TILES, Plan, up
from alexdsl_cpu.dialect import LANES
from alexdsl_cpu.offer import SLOTS, Args, Call, Constants
from alexdsl_cpu.product import block


@dataclass(frozen=True)
class Stage:
    """Where the workspace holds what behind the filters: points of tiles, their products, and the workers' scratch."""

    plan: Plan

    @property
    def tiles_apart(self) -> int:
        return self.plan.stage * self.plan.deep + LANES

    @property
    def products_at(self) -> int:
        # Rows of products are rounded up to whole blocks: the last reads a little beyond.
        return self.plan.filters + self.plan.points * self.tiles_apart + self.plan.rows * self.plan.deep

    @property
    def products_apart(self) -> int:
        return up(self.plan.stage, self.plan.rows) * self.plan.broad + LANES

    @property
    def scratch_at(self) -> int:
        return self.products_at + self.plan.points * self.products_apart

    @property
    def end(self) -> int:
        return self.scratch_at + SLOTS * self.plan.scratch


def by_points(plan: Plan, x: str, arrays: Sequence[str], write: Constants) -> Sequence[Call]:
    """The launches after that of the filters. ``arrays``: the bias, the epilogue's operand and the result."""
    shape, at, sizes = plan.shape, Stage(plan), plan.sheet.sizes
    scratch, panels = (at.scratch_at, plan.scratch), plan.broad // plan.wide
    matrix = transforms(plan.step, plan.taps).input
    read: Constants = {
        "STEP": plan.step, "POINTS": plan.side, "TILES": TILES, "SPREAD": line(matrix), "LAST": line(matrix, PAST),
    }  # fmt: skip
    multiply: Constants = {"ROWS": plan.rows, "WIDE": plan.wide, "BLOCK": block(plan.rows, plan.vectors)}
    found = []
    for group in range(shape.groups):
        filters = group * panels * plan.points * (plan.inputs * plan.wide + LANES)
        for first in range(0, plan.sheet.tiles, plan.stage):
            count = min(plan.stage, plan.sheet.tiles - first)
            args: Args = (
                x, "workspace", first, count, group * plan.inputs, plan.inputs, plan.side, plan.filters, plan.deep,
                at.tiles_apart, *scratch, *sizes,
            )  # fmt: skip
            found.append(Call(winograd_tiles, args, -(-count // TILES), read))
            args = (
                "workspace", count, plan.filters, plan.deep, at.tiles_apart, filters, panels, plan.points,
                plan.inputs, at.products_at, plan.broad, at.products_apart,
            )  # fmt: skip
            found.append(Call(winograd_points, args, plan.points * panels, multiply, grain=panels // 2 or 1))
            args = (
                *arrays, "workspace", first, count, group * plan.outputs, plan.outputs, at.products_at, plan.broad,
                at.products_apart, *scratch, *sizes,
            )  # fmt: skip
            found.append(Call(winograd_back, args, -(-count // TILES), {**write, "TILES": TILES}))
    return found
