"""How blocks share the rows of a value for sums down its channels: segments of rows, lines of threads, a fixed order.

A block has a segment of the rows and COLUMNS runs of SIZE neighbouring channels; its threads are LINES of COLUMNS, and
every line takes each LINES-th row. What the lines found meets in shared memory, where numbers of neighbouring threads
are neighbours, and is put together line by line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alexdsl.ir.kernels import kernel
from alexdsl_cuda.dialect import uint32
from alexdsl_cuda.offer import THREADS
from alexdsl_cuda.quads import WARP, size_of

MOST_LINES = 64
LEAST_ROWS = 16
"""Rows of a thread that are worth a segment."""
MOST_BLOCKS = 512
"""Enough for all processors of a device; fixed, so that sums are the same on any."""


@dataclass(frozen=True)
class Cut:
    """``runs`` x ``rows`` rows of ``channels``, cut into ``segments`` of ``length`` rows, the last perhaps fewer."""

    channels: int
    runs: int
    rows: int
    size: int
    columns: int
    groups: int
    lines: int
    length: int

    @property
    def segments(self) -> int:
        return -(-self.rows // self.length)

    @property
    def threads(self) -> int:
        return self.columns * self.lines

    @property
    def blocks(self) -> int:
        return self.runs * self.segments * self.groups

    @property
    def parts(self) -> int:
        """Numbers that all segments leave behind, two for every channel."""
        return 2 * self.runs * self.segments * self.channels

    @property
    def constants(self) -> Mapping[str, int]:
        return {
            "SIZE": self.size, "CHANNELS": self.channels, "COLUMNS": self.columns, "LINES": self.lines,
            "GROUPS": self.groups, "ROWS": self.rows, "LENGTH": self.length, "SEGMENTS": self.segments,
            "THREADS": self.threads, "SHARED": self.threads * self.size,
        }  # fmt: skip


def cut(channels: int, runs: int, rows: int) -> Cut:
    """The cut of so many runs of rows of channels."""
    size = size_of(channels)
    columns = min(channels // size, WARP)
    groups = -(-channels // (size * columns))
    lines = min(THREADS // columns, MOST_LINES, rows)
    most = max(1, MOST_BLOCKS // (groups * runs))
    return Cut(channels, runs, rows, size, columns, groups, lines, max(LEAST_ROWS * lines, -(-rows // most)))


@kernel
def plane(t, k, *, THREADS):
    """Where thread t keeps the number of its k-th channel in shared memory."""
    return uint32(k * THREADS + t)


@kernel
def add_lines(totals, t, k, *, COLUMNS, LINES):
    """The sum over the lines of what they left for the k-th channel of a column; t is the column's first thread."""
    total = totals[plane(t, k)]
    for line in range(1, LINES):
        total += totals[plane(uint32(t + line * COLUMNS), k)]
    return total


@kernel
def merge_lines(means, spreads, counts, t, k, *, COLUMNS, LINES):
    """Mean, and squared distances from it summed, of all that the lines counted; the first has counted something."""
    mean, spread, seen = means[plane(t, k)], spreads[plane(t, k)], counts[t]
    for line in range(1, LINES):
        other = uint32(t + line * COLUMNS)
        count = counts[other]
        distance, share = means[plane(other, k)] - mean, count / (seen + count)
        spread += spreads[plane(other, k)] + distance * distance * (share * seen)
        mean += distance * share
        seen += count
    return mean, spread
