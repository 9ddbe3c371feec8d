"""A copy of images with their padding in it, so that a window's rows are runs of memory wherever it lies."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alexdsl.ir.kernels import kernel
from alexdsl.layers.window import Axis
from alexdsl_cuda.gemm.calls import Step
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.names import F1, cuda, fetch, float32, int32, store_quad, uint32
from alexdsl_cuda.gemm.sums import ADDERS


@kernel
def pad_images(
    x: F1, work: F1, *, FIRST: int, QUADS: int, LINE: int, LINES: int, ROW: int, HEIGHT: int, LEFT: int, TOP: int
) -> None:
    """To the workspace from FIRST on images of LINES rows of LINE quads, of which HEIGHT rows of ROW quads are x's,
    TOP rows and LEFT quads inside, and the others zeros; a thread a quad."""
    values = cuda.local.array(4, float32)
    at = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if at < QUADS:
        line = uint32(at // LINE)
        y, place = int32(line % LINES - TOP), int32(at - line * LINE - LEFT)
        inside = 0 <= y < HEIGHT and 0 <= place < ROW
        fetch(values, 0, x, int32(((line // LINES * HEIGHT + y) * ROW + place) * 4), inside, 4, 1, 1)
        store_quad(work, int32(FIRST + at * 4), values)


@dataclass(frozen=True)
class Padded:
    """Images with their padding: as ``geometry`` no window reaches over their edges, ``begin`` is where the first
    window begins, and ``count`` how many floats they are."""

    geometry: Geometry
    begin: int
    count: int
    left: int

    def copy(self, g: Geometry, first: int) -> Step:
        """The call that makes them of x, in the workspace from ``first`` on."""
        padded = self.geometry
        quads, line = self.count // 4, padded.columns.size * g.channels // 4
        constants = {
            "FIRST": first, "QUADS": quads, "LINE": line, "LINES": padded.rows.size, "HEIGHT": g.rows.size,
            "ROW": g.columns.size * g.channels // 4, "LEFT": self.left * g.channels // 4, "TOP": g.rows.before,
        }  # fmt: skip
        return Step(pad_images, ("x", "workspace"), (-(-quads // ADDERS), 1, 1), ADDERS, constants)


def padded(g: Geometry) -> Padded | None:
    """The images with their padding, in which rows of windows are runs of memory. None where they are not; where the
    image's rows do not come in quads; where channels do, for which other kernels are better."""
    if g.groups > 1 or g.columns.dilation > 1 or g.channels % 4 == 0 or g.columns.size * g.channels % 4:
        return None
    # Pixels in fours keep quads quads. What no window reads is left out.
    left = -(-g.columns.before // 4) * 4
    begin = left - g.columns.before
    geometry = replace(
        g, rows=_within(g.rows, _reach(g.rows)), columns=_within(g.columns, -(-(begin + _reach(g.columns)) // 4) * 4)
    )
    count = g.images * geometry.rows.size * geometry.columns.size * g.channels
    return Padded(geometry, begin * g.channels, count, left)


def _reach(axis: Axis) -> int:
    """Pixels from the first that a window reads to the last, padding included."""
    return (axis.out - 1) * axis.stride + axis.reach


def _within(axis: Axis, size: int) -> Axis:
    return replace(axis, size=size, before=0, after=0)
