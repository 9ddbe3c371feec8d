"""Plans of convolutions whose windows' rows are runs of memory at any place: those of images, of few channels."""

from __future__ import annotations

from dataclasses import replace

from alexdsl.ir.kernels import Scalar
from alexdsl_cuda.gemm.calls import Plan, Result, Step, constants_of, grid_of, planned
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.padding import padded
from alexdsl_cuda.gemm.runs import forward_runs, pack_filters
from alexdsl_cuda.gemm.runs_grad import weight_grad_runs
from alexdsl_cuda.gemm.sums import ADDERS, LANES
from alexdsl_cuda.gemm.tile import Operand, Tile
from alexdsl_cuda.gemm.tiles import PROCESSORS, SHARED, Product, Side, choose, shapes

LEAST, MOST = 4, 16
"""Bounds of a slab's depth."""
WINDOW_ROWS = 4
"""Rows of windows that a block of the filters' gradient makes."""
LEAST_SLABS = 32
"""Slabs of a split: fewer are not worth the memory that their sums take."""


def plan_forward_runs(g: Geometry, bias: bool, epilogue: Scalar, tile: Tile | None) -> Plan | None:
    """x, weight, bias, other -> y; None where other kernels are better or these do not fit."""
    depth = _divisor(g.columns.kernel * g.channels)
    whole = _are_runs(g)
    copy = None if whole else padded(g)
    if not (whole or copy) or not depth or g.maps % 4 or 4 * LANES * g.window > SHARED:
        return None
    product = Product(g.pixels, g.maps, g.window, 1, Side("run", True, 9), Side("width", True, 4), splits=False)
    if tile is None:
        if not any(product.fits(one) for one in shapes(depth)):
            return None
        tile, _ = choose(product, shapes(depth))
    # In the workspace lie the filters, and behind them, if there is one, the images' copy.
    slabs, count = g.window // depth, g.maps * g.window
    images, begin = (copy.geometry, count + copy.begin) if copy else (g, 0)
    constants = {
        **constants_of(images, product, tile, 1), "OUT_PITCH": g.maps, "OUT_SIZE": 4, "SLABS": slabs,
        "PARTS": slabs // g.rows.kernel, "BEGIN": begin,
    }  # fmt: skip
    result = Result("y", g.pixels * g.maps, g.maps, bias, epilogue)
    args = ("workspace" if copy else "x", "workspace", "bias", "other", "y")
    grid = grid_of(product, tile, 1)
    plan = planned(forward_runs, args, grid, tile, 1, product.executed(tile), result, constants)
    packing = {"MAPS": g.maps, "TOTAL": g.window, "PACKED": LANES * g.window, "LANES": LANES, "ADDERS": ADDERS}
    pack = Step(pack_filters, ("weight", "workspace"), (-(-g.maps // LANES), 1, 1), ADDERS, packing)
    before = [pack, copy.copy(g, count)] if copy else [pack]
    return replace(plan, steps=(*before, *plan.steps), workspace=count + (copy.count if copy else 0))


def plan_weight_grad_runs(g: Geometry, splits: int | None) -> Plan | None:
    """x, dy -> dw; None where other kernels are better or these do not fit."""
    hop, run = g.columns.stride * g.channels, g.columns.kernel * g.channels
    depth = _divisor(g.columns.out)
    rows = next((r for r in (128, 96, 64, 48, 32, 16, 8) if g.maps % r == 0), 0)
    if not _are_runs(g) or not depth or not rows or hop % 4:
        return None
    run_quads = -(-run // 4)
    tile = Tile(rows, 4 * run_quads * WINDOW_ROWS, depth)
    maps = Operand(tile, rows, "width", 4)
    needed = (depth - 1) * hop + run
    # As many quads as all windows' quads need, wherever in its quad a run begins; before it is room for that quad.
    segment_quads = (depth - 1) * hop // 4 + run_quads + 1
    segment = 4 + 4 * segment_quads
    slots = -(-WINDOW_ROWS * segment_quads // tile.threads)
    slabs, tiles = g.pixels // depth, -(-g.rows.kernel // WINDOW_ROWS)
    blocks = tiles * (g.maps // rows)
    wanted = splits or max(1, min(tile.resident * PROCESSORS // blocks, slabs // LEAST_SLABS))
    each = -(-slabs // wanted)
    splits = -(-slabs // each)
    stage = maps.slab + WINDOW_ROWS * segment
    constants = {
        **g.constants, **tile.sizes, **maps.constants("A"), "STAGE": stage, "SHARED": stage // 2, "TILES": tiles,
        "SLABS": slabs, "SPLIT": each, "PARTS": g.columns.out // depth, "HOP": hop, "NEEDED": needed,
        "RUN_QUADS": run_quads, "WINDOW_ROWS": WINDOW_ROWS, "SEGMENT": segment, "SEGMENT_QUADS": segment_quads,
        "A_STEP": rows // 2, "B_STEP": WINDOW_ROWS // 2 * segment, "B_SLOTS": slots, "B_REGISTERS": 4 * slots,
    }  # fmt: skip
    executed = blocks * rows * tile.columns * g.pixels
    result = Result("dw", g.maps * g.window, g.window)
    return planned(weight_grad_runs, ("x", "dy", "dw"), (blocks, 1, splits), tile, splits, executed, result, constants)


def _are_runs(g: Geometry) -> bool:
    """Whether windows' rows are runs of memory, and channels do not come in quads.

    No window may reach over its image's edge, and the last quad that covers a run must be within the array.
    """
    whole = g.groups == 1 and g.columns.dilation == 1 and g.inside
    return whole and g.channels % 4 != 0 and g.images * g.rows.size * g.columns.size * g.channels % 4 == 0


def _divisor(count: int) -> int:
    """The largest depth of slabs that cut a count evenly; 0 if there is none."""
    return max((d for d in range(LEAST, MOST + 1) if count % d == 0), default=0)
