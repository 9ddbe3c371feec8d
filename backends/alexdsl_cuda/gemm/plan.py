"""The kernel calls of a convolution or linear layer and of its gradients: constants, grids and workspace for each.

The arrays of a plan's calls go by their roles: x, weight, bias, y and their gradients. ``other`` is the epilogue's
second operand, and where it has none, the result.
"""

from __future__ import annotations

from alexdsl.ir.kernels import Scalar
from alexdsl_cuda.gemm.calls import SAME, Plan, Result, constants_of, grid_of, planned, tap_constants, with_bias
from alexdsl_cuda.gemm.forward import forward
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.input_grad import input_grad
from alexdsl_cuda.gemm.plan_runs import plan_forward_runs, plan_weight_grad_runs
from alexdsl_cuda.gemm.plan_windows import plan_weight_grad_windows
from alexdsl_cuda.gemm.tile import Tile
from alexdsl_cuda.gemm.tiles import Product, Side, choose
from alexdsl_cuda.gemm.weight_grad import weight_grad


def plan_forward(
    g: Geometry, bias: bool, epilogue: Scalar = SAME, tile: Tile | None = None, splits: int | None = None
) -> Plan:
    """x, weight, bias, other -> y. ``bias`` may be any array where there is none."""
    if (runs := plan_forward_runs(g, bias, epilogue, tile)) is not None:
        return runs
    quads, steps = g.inputs % 4 == 0, 2 if g.taps == 1 else 12
    product = Product(g.pixels, g.outputs, g.window, g.groups, Side("depth", quads, steps), Side("depth", quads, 2))
    tile, splits = _chosen(product, tile, splits)
    a, b = product.operands(tile)
    whole, even = g.inputs % tile.depth == 0, g.window % tile.depth == 0
    constants = {
        **constants_of(g, product, tile, splits), "OUT_PITCH": g.maps, "OUT_SIZE": 4 if g.outputs % 4 == 0 else 1,
        "INSIDE": g.inside and even, "A_FULL": g.pixels % tile.rows == 0 and a.slots * a.lines == tile.rows,
        "A_RUNS": 1 if whole else a.pieces, "A_RUN": a.pieces if whole else 1,
        **tap_constants(g.inputs, g.taps, tile.depth),
        "B_EVEN": even, "B_FULL": g.outputs % tile.columns == 0 and b.slots * b.lines == tile.columns,
    }  # fmt: skip
    result = Result("y", g.pixels * g.maps, g.maps, bias, epilogue)
    args = ("x", "weight", "bias", "other", "y")
    grid = grid_of(product, tile, splits)
    return planned(forward, args, grid, tile, splits, product.executed(tile), result, constants)


def plan_input_grad(g: Geometry, epilogue: Scalar = SAME, tile: Tile | None = None, splits: int | None = None) -> Plan:
    """weight, dy, other -> dx."""
    deep, wide = g.outputs % 4 == 0, g.inputs % 4 == 0
    # Of a stride's phases each has its share of the pixels and of the taps, none more than these.
    rows, columns = (-(-a.size // a.stride) for a in (g.rows, g.columns))
    taps = -(-g.rows.kernel // g.steps[0]) * -(-g.columns.kernel // g.steps[1])
    pixels, filters = Side("depth", deep, 2 if g.taps == 1 else 12), Side("width", wide, 4)
    product = Product(
        g.images * rows * columns, g.inputs, taps * g.outputs, g.groups * g.phases, pixels, filters, g.phases == 1
    )
    tile, splits = _chosen(product, tile, splits)
    a, b = product.operands(tile)
    before = -g.outputs % tile.depth if g.pointwise and deep else 0
    constants = {
        **constants_of(g, product, tile, splits), "OUT_PITCH": g.channels, "OUT_SIZE": 4 if wide else 1,
        **tap_constants(g.outputs + before, g.taps, tile.depth), "BEFORE": before, "POINTWISE": g.pointwise,
    }  # fmt: skip
    whole = bool(constants["WHOLE"])
    constants |= {
        "A_RUNS": 1 if whole else a.pieces, "A_RUN": a.pieces if whole else 1,
        "B_WHOLE": whole and b.slots * b.lines == tile.depth, "B_HOP": b.lines * g.taps * g.inputs,
    }  # fmt: skip
    result = Result("dx", g.images * g.rows.size * g.columns.size * g.channels, g.channels, epilogue=epilogue)
    args = ("weight", "dy", "other", "dx")
    grid = grid_of(product, tile, splits)
    return planned(input_grad, args, grid, tile, splits, product.executed(tile), result, constants)


def plan_weight_grad(g: Geometry, bias: bool, tile: Tile | None = None, splits: int | None = None) -> Plan:
    """x, dy -> dw, and db if there is a bias."""
    plan = None if tile else plan_weight_grad_runs(g, splits) or plan_weight_grad_windows(g, splits)
    plan = plan or _weight_grad(g, tile, splits)
    return with_bias(plan, g) if bias else plan


def _weight_grad(g: Geometry, tile: Tile | None, splits: int | None) -> Plan:
    maps = Side("width", g.outputs % 4 == 0, 3)
    windows = Side("width", g.inputs % 4 == 0, 3 if g.taps == 1 else 22)
    product = Product(g.outputs, g.window, g.pixels, g.groups, maps, windows)
    tile, splits = _chosen(product, tile, splits)
    a, b = product.operands(tile)
    even = g.pixels % tile.depth == 0
    fits = even and b.slots * b.lines == tile.depth
    constants = {
        **constants_of(g, product, tile, splits), "OUT_PITCH": g.window, "OUT_SIZE": 4 if g.window % 4 == 0 else 1,
        "A_WHOLE": even and a.slots * a.lines == tile.depth, "A_HOP": a.lines * g.maps, "EVEN": even,
        "INSIDE": g.inside, "FITS": fits, "B_WHOLE": g.pointwise and fits, "B_HOP": b.lines * g.channels,
    }  # fmt: skip
    result = Result("dw", g.maps * g.window, g.window)
    grid = grid_of(product, tile, splits)
    return planned(weight_grad, ("x", "dy", "dw"), grid, tile, splits, product.executed(tile), result, constants)


def _chosen(product: Product, tile: Tile | None, splits: int | None) -> tuple[Tile, int]:
    if tile is None:
        return choose(product)
    slabs = -(-product.depth // tile.depth)
    return tile, -(-slabs // -(-slabs // (splits or 1)))
