"""The plan of an image's filters' gradient by whole rows of windows, of a copy of the images with their padding."""

from __future__ import annotations

from dataclasses import replace

from alexdsl_cuda.gemm.calls import Plan, Result, planned
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.padding import padded
from alexdsl_cuda.gemm.tile import BUSY, WARP, Tile
from alexdsl_cuda.gemm.tiles import PROCESSORS, SHARED
from alexdsl_cuda.gemm.windows_grad import weight_grad_windows

MOST_RUN = 24
"""Floats of a window's row that a thread can sum for four maps; for eight, half as many."""
ROWS = 64
"""Maps of a block at most."""
LEAST_SLABS = 32
"""Slabs of a split: fewer are not worth the memory that their sums take."""


def plan_weight_grad_windows(g: Geometry, splits: int | None) -> Plan | None:
    """x, dy -> dw; None where that does not fit."""
    copy, run, hop = padded(g), g.columns.kernel * g.channels, g.columns.stride * g.channels
    rows = max((r for r in range(8, ROWS + 1, 8) if g.maps % r == 0), default=0)
    high = 8 if run <= MOST_RUN // 2 else 4
    depth = _depth(g.columns.out, hop, high)
    if copy is None or run > MOST_RUN or not rows or not depth:
        return None
    tile = Tile(rows, g.rows.kernel * run, depth, high, run)
    begin = copy.begin % 4
    a_quads, segment_quads = depth * rows // 4, -(-(begin + (depth - 1) * hop + run) // 4)
    b_quads = segment_quads * g.rows.kernel
    a_slots, b_slots = -(-a_quads // tile.threads), -(-b_quads // tile.threads)
    # Segments an odd number of quads apart begin in different banks. The last pieces of all threads have room, too.
    segment, a_slab = 4 * (segment_quads | 1), 4 * a_slots * tile.threads
    stage = a_slab + segment * -(-b_slots * tile.threads // segment_quads)
    if 4 * 2 * stage > SHARED:
        return None
    slabs, blocks, count = g.pixels // depth, g.maps // rows, g.maps * g.window
    resident = max(1, 3 * BUSY // 2 // (-(-tile.threads // WARP) * WARP))
    wanted = splits or max(1, min(resident * PROCESSORS // blocks, slabs // LEAST_SLABS))
    # As many slabs in every split: nothing in the loop asks where they end.
    splits = max(n for n in range(1, wanted + 1) if slabs % n == 0)
    constants = {
        **copy.geometry.constants, **tile.sizes, "RESIDENT": resident, "BEGIN": splits * count + copy.begin - begin,
        "FIRST": begin, "HOP": hop, "SPLIT": slabs // splits, "PARTS": g.columns.out // depth, "STAGE": stage,
        "SHARED": stage // 2, "A_STEP": rows // 2, "A_LANES": rows // 4, "A_SLOTS": a_slots, "A_QUADS": a_quads,
        "A_SLAB": a_slab, "A_REGISTERS": 4 * a_slots, "B_SLOTS": b_slots, "B_QUADS": b_quads,
        "B_REGISTERS": 4 * b_slots, "SEGMENT": segment, "SEGMENT_QUADS": segment_quads,
    }  # fmt: skip
    result, args = Result("dw", count, g.window), ("workspace", "dy", "dw")
    plan = planned(weight_grad_windows, args, (blocks, 1, splits), tile, splits, g.multiply_adds, result, constants)
    # Behind the splits' sums lie the images.
    first = splits * count
    return replace(plan, steps=(copy.copy(g, first), *plan.steps), workspace=first + copy.count)


def _depth(columns: int, hop: int, high: int) -> int:
    """The deepest slab that cuts a row of output pixels evenly and begins with a quad; 0 if there is none.

    Threads of eight maps take short ones: they fetch more for each step of the depth.
    """
    most = 4 * MOST_RUN // high
    return max((d for d in range(4, most + 1) if columns % d == 0 and d * hop % 4 == 0), default=0)
