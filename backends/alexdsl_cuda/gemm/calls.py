"""What plans consist of: kernel calls with constants and grids, a workspace, and the second call of split sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from alexdsl.ir.kernels import KernelFunction, Scalar
from alexdsl_cuda.gemm.geometry import Geometry, inverse
from alexdsl_cuda.gemm.sums import ADDERS, LANES, add_splits, map_sums
from alexdsl_cuda.gemm.tile import Tile, shared_constants
from alexdsl_cuda.gemm.tiles import Product
from alexdsl_cuda.gemm.warps import WarpTile

Constants: TypeAlias = Mapping[str, int | float | bool | Scalar]

SAME = Scalar(("v", "_"), (), "v")
"""The epilogue that changes nothing."""
RUN = 4096
"""Output pixels whose gradients a block sums for the biases."""


@dataclass(frozen=True)
class Step:
    """A kernel call. Arguments are the op's arrays by their roles, and ``workspace``."""

    function: KernelFunction
    args: Sequence[str]
    grid: tuple[int, int, int]
    threads: int
    constants: Constants


@dataclass(frozen=True)
class Plan:
    """The calls of an op in order, and the floats of the workspace that they share."""

    steps: Sequence[Step]
    workspace: int
    tile: Tile | WarpTile
    splits: int
    executed: int
    """Multiply-adds of the product's blocks, padding included."""

    @property
    def product(self) -> Step:
        """The call that multiplies."""
        return next(step for step in self.steps if "RESIDENT" in step.constants)


@dataclass(frozen=True)
class Result:
    """What a product makes: the array's role, how many floats, of how many channels; what happens to each sum."""

    role: str
    count: int
    channels: int
    bias: bool = False
    epilogue: Scalar = SAME


def tap_constants(places: int, taps: int, depth: int) -> dict[str, int | float | bool | Scalar]:
    """How a place of the depth is told to be of a tap: of all ``taps`` each has so many places."""
    whole = places % depth == 0
    slabs = places // depth if whole else 1
    return {"TAPS": taps, "TAP": places, "WHOLE": whole, "TAP_INVERSE": inverse(slabs, taps * slabs)}


def constants_of(g: Geometry, product: Product, tile: Tile, splits: int) -> dict[str, int | float | bool | Scalar]:
    """What all products' kernels ask for."""
    a, b = product.operands(tile)
    slabs = -(-product.depth // tile.depth)
    return {
        **g.constants, **tile.constants, **a.constants("A"), **b.constants("B"), **shared_constants(a, b),
        "OUT_ROWS": product.rows, "OUT_COLUMNS": product.columns, "TOTAL": product.depth,
        "TILES": -(-product.columns // tile.columns), "SPLITS": splits, "SPLIT": -(-slabs // splits) * tile.depth,
    }  # fmt: skip


def grid_of(product: Product, tile: Tile, splits: int) -> tuple[int, int, int]:
    """The tiles, row by row; beyond them the product's copies, each in its splits."""
    tiles = -(-product.rows // tile.rows) * -(-product.columns // tile.columns)
    return (tiles, 1, product.copies * splits)


def planned(
    function: KernelFunction, args: Sequence[str], grid: tuple[int, int, int], tile: Tile, splits: int, executed: int,
    result: Result, constants: Constants,
) -> Plan:  # fmt: skip
    """The product's call; if its depth is split, the parts go to the workspace, and a second call adds them."""
    if splits == 1:
        constants = needed(function, {**constants, "BIAS": result.bias, "EPILOGUE": result.epilogue})
        return Plan((Step(function, args, grid, tile.threads, constants),), 0, tile, splits, executed)
    constants = needed(function, {**constants, "BIAS": False, "EPILOGUE": SAME})
    to_parts = tuple("workspace" if role in ("other", result.role) else role for role in args)
    parts = Step(function, to_parts, grid, tile.threads, constants)
    return Plan((parts, adding(result, 0, splits)), splits * result.count, tile, splits, executed)


def with_bias(plan: Plan, g: Geometry) -> Plan:
    """The plan of a weight's gradient, and the bias's, in two more calls: sums over runs of pixels, and of those."""
    runs, first = -(-g.pixels // RUN), plan.workspace
    constants = {"FIRST": first, "PIXELS": g.pixels, "MAPS": g.maps, "RUN": RUN, "LANES": LANES, "ADDERS": ADDERS}
    sums = Step(map_sums, ("dy", "workspace"), (runs, -(-g.maps // LANES), 1), ADDERS, constants)
    add = adding(Result("db", g.maps, g.maps), first, runs)
    return replace(plan, steps=(*plan.steps, sums, add), workspace=first + runs * g.maps)


def adding(result: Result, first: int, parts: int) -> Step:
    """The call that adds so many parts of a result, which lie in the workspace from ``first`` on."""
    constants: Constants = {
        "FIRST": first, "SPLITS": parts, "COUNT": result.count, "CHANNELS": result.channels, "BIAS": result.bias,
        "EPILOGUE": result.epilogue,
    }  # fmt: skip
    other = "other" if result.role in ("y", "dx") else result.role
    args = ("workspace", "bias" if result.bias else "workspace", other, result.role)
    return Step(add_splits, args, (-(-result.count // ADDERS), 1, 1), ADDERS, constants)


def needed(function: KernelFunction, constants: Constants) -> Constants:
    """Of all constants those that the kernel and its helpers declare."""
    declared = {*function.constants, *(c for helper in function.helpers for c in helper.constants)}
    return {name: value for name, value in constants.items() if name in declared}
