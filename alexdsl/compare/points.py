"""A single point in which two specs differ, and the parts of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = {
    "net": "what they compute",
    "start": "how weights start",
    "data": "what they see",
    "training": "how they are trained",
    "same": "written otherwise, the same in meaning",
}
"""The parts of a comparison in order, with headings; differences of the last one do not count."""


@dataclass(frozen=True)
class Difference:
    """What differs where, on both sides, and what that means; ``part`` is one of ``PARTS``."""

    part: str
    where: tuple[str, ...]
    what: str
    a: str
    b: str
    why: str = ""
