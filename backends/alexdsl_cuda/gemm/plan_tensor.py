"""The calls of products on tensor cores: operands to bf16 in the workspace, the product, and the sums of its parts."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.kernels import KernelFunction, Scalar
from alexdsl.layers.window import Axis
from alexdsl_cuda.gemm.calls import SAME, Constants, Plan, Result, Step, adding, needed, with_bias
from alexdsl_cuda.gemm.geometry import Geometry, inverse
from alexdsl_cuda.gemm.halves import HALVERS, PITCH, SIDE, halves, turned_halves
from alexdsl_cuda.gemm.tensor import tensor_forward
from alexdsl_cuda.gemm.tensor_grad import tensor_weight_grad
from alexdsl_cuda.gemm.warps import CONVOLVING, CORRELATING, DEPTH, WarpTile, splits_of, tile_of

CHUNK = 8
"""Numbers that are copied at once."""
BEYOND = 1 << 31
"""The bit that stands for what no window reaches, above those of a window's rows and columns."""
ROW = 1 << 16
"""What a row counts where a pixel's row and column are one number."""


def plan_tensor_forward(
    g: Geometry, bias: bool, epilogue: Scalar = SAME, tile: WarpTile | None = None, splits: int | None = None
) -> Plan | None:
    """x, weight, bias, other -> y; None where windows are not made of chunks."""
    if g.inputs % CHUNK or g.outputs % 4 or not _fits(g):
        return None
    x, weight = g.images * g.rows.size * g.columns.size * g.channels, g.maps * g.window
    copies = (_halves("x", 0, x), _halves("weight", x // 2, weight))
    return _product(g, copies, (x + weight) // 2, x // 2, Result("y", g.pixels * g.maps, g.maps, bias, epilogue), tile,
                    splits)  # fmt: skip


def plan_tensor_input_grad(
    g: Geometry, epilogue: Scalar = SAME, tile: WarpTile | None = None, splits: int | None = None
) -> Plan | None:
    """weight, dy, other -> dx; None under a stride, too: there not every tap reads every pixel."""
    if g.outputs % CHUNK or g.inputs % CHUNK or not _fits(g) or g.rows.stride > 1 or g.columns.stride > 1:
        return None
    back = Geometry(g.images, g.maps, g.channels, _back(g.rows), _back(g.columns), g.groups)
    dy, weight = g.pixels * g.maps, g.maps * g.window
    down, across = -(-g.outputs // SIDE), -(-g.inputs // SIDE)
    constants = {
        "FIRST": dy // 2, "TAPS": g.taps, "INPUTS": g.inputs, "OUTPUTS": g.outputs, "ACROSS": across,
        "HALVERS": HALVERS, "SIDE": SIDE, "PITCH": PITCH, "SHARED": SIDE * PITCH,
    }  # fmt: skip
    turn = Step(turned_halves, ("weight", "workspace"), (down * across, g.taps, g.groups), HALVERS, constants)
    result = Result("dx", back.pixels * back.maps, back.maps, epilogue=epilogue)
    return _product(back, (_halves("dy", 0, dy), turn), (dy + weight) // 2, dy // 2, result, tile, splits)


def plan_tensor_weight_grad(
    g: Geometry, bias: bool, tile: WarpTile | None = None, splits: int | None = None
) -> Plan | None:
    """x, dy -> dw, and db if there is a bias; None where channels or maps do not come in chunks."""
    if g.inputs % CHUNK or g.outputs % CHUNK or not _fits(g):
        return None
    tile = tile or tile_of(CORRELATING, g.outputs, g.window)
    x, dy = g.images * g.rows.size * g.columns.size * g.channels, g.pixels * g.maps
    lanes = tile.threads // DEPTH
    constants: Constants = {
        **g.constants, "LANES": lanes, "TURN": CHUNK // lanes, "A_FIRST": x // 2, "A_UNIT": g.maps // 2,
        "B_UNIT": g.channels // 2, "A_SLOTS": tile.rows // CHUNK // lanes, "B_SLOTS": tile.columns // CHUNK // lanes,
        "POINTWISE": g.pointwise, "ROW": ROW, "LAST": (g.rows.size - 1) * ROW + g.columns.size - 1,
        "BEYOND": ROW // 4 * ROW, "EDGES": (ROW + 1) * ROW // 2, "PAIRS": 4 * tile.threads,
    }  # fmt: skip
    copies = (_halves("x", 0, x), _halves("dy", x // 2, dy))
    result = Result("dw", g.maps * g.window, g.window)
    sizes = g.outputs, g.window, g.pixels, g.groups
    plan = _planned(tensor_weight_grad, ("workspace", "dw"), copies, (x + dy) // 2, sizes, result, tile, splits,
                    constants)  # fmt: skip
    return with_bias(plan, g) if bias else plan


def _product(
    g: Geometry, copies: Sequence[Step], used: int, filters: int, result: Result, tile: WarpTile | None,
    splits: int | None,
) -> Plan:  # fmt: skip
    """A convolution of the copies in bf16: images first, filters from that float of the workspace on."""
    tile = tile or tile_of(CONVOLVING, g.pixels, g.outputs)
    lines = tile.threads // 4
    constants: Constants = {
        **g.constants, "LINES": lines, "A_SLOTS": tile.rows // lines, "B_SLOTS": tile.columns // lines,
        "B_FIRST": filters, "B_FULL": g.outputs % tile.columns == 0 and lines % 16 == 0, "B_PUT": lines * DEPTH // 2,
        "B_STEP": lines * g.window // 2, "TAPS": g.taps, "INSIDE": g.inside, "BEYOND": BEYOND,
        "TAP_INVERSE": inverse(g.inputs // 2, g.window // 2 + 2 * DEPTH),
    }  # fmt: skip
    sizes = g.pixels, g.outputs, g.window, g.groups
    args = ("workspace", "bias" if result.bias else "other", "other", result.role)
    return _planned(tensor_forward, args, copies, used, sizes, result, tile, splits, constants)


def _planned(
    function: KernelFunction, args: Sequence[str], copies: Sequence[Step], used: int, sizes: tuple[int, int, int, int],
    result: Result, tile: WarpTile, splits: int | None, constants: Constants,
) -> Plan:  # fmt: skip
    """The copies, the product of rows x columns x depth in groups, and the sum of its parts, if there are several;
    they follow what is ``used`` of the workspace."""
    rows, columns, depth, groups = sizes
    slabs = -(-depth // DEPTH)
    splits = splits_of(rows, columns, depth, groups, tile) if splits is None else -(-slabs // -(-slabs // splits))
    first = -(-used // 4) * 4
    down, across = -(-rows // tile.rows), -(-columns // tile.columns)
    one = splits == 1
    constants = {
        **constants, **tile.constants, "OUT_ROWS": rows, "OUT_COLUMNS": columns, "OUT_PITCH": result.channels,
        "OUT_SIZE": 4, "TILES": across, "TOTAL": depth, "SPLITS": splits, "SPLIT": -(-slabs // splits) * DEPTH,
        "PARTS": 0 if one else first, "BIAS": result.bias and one, "EPILOGUE": result.epilogue if one else SAME,
    }  # fmt: skip
    grid = (down * across, 1, groups * splits)
    if not one:
        args = tuple("workspace" if role in ("other", result.role) else role for role in args)
    step = Step(function, args, grid, tile.threads, needed(function, constants))
    steps = (*copies, step, *(() if one else (adding(result, first, splits),)))
    executed = grid[0] * groups * tile.rows * tile.columns * slabs * DEPTH
    return Plan(steps, first + (0 if one else splits * result.count), tile, splits, executed)


def _halves(role: str, first: int, count: int) -> Step:
    threads = -(-count // CHUNK)
    constants = {"FIRST": first, "COUNT": count, "HALVERS": HALVERS}
    return Step(halves, (role, "workspace"), (-(-threads // HALVERS), 1, 1), HALVERS, constants)


def _fits(g: Geometry) -> bool:
    """Whether a window's rows and columns have a bit each, below BEYOND, and a pixel's row or column, padding and all,
    half the bits of a number."""
    reach = max(2 * (axis.size + axis.before + axis.after) for axis in (g.rows, g.columns))
    return 1 << g.rows.kernel + g.columns.kernel <= BEYOND and reach < ROW // 2


def _back(axis: Axis) -> Axis:
    """The axis along which the output's gradient is convolved, by the taps in reverse."""
    reach = axis.dilation * (axis.kernel - 1)
    after = axis.size - axis.out + axis.before
    return Axis(axis.out, axis.kernel, 1, reach - axis.before, after, axis.dilation, axis.size)
