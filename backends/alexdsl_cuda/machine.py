"""Named cards: their rates by the makers' own papers, and the least time that a kernel's work takes on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alexdsl.ir.backend import Unavailable

FOLDER = Path(__file__).with_name("machines")


@dataclass(frozen=True)
class Machine:
    """A card: operations and bytes per second, bytes, Hz; each file in ``machines/`` names its source."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    clock: float
    fp32: float
    bf16: float
    mma_sync: float
    bandwidth: float
    memory: float
    l2: float

    def rate(self, precision: str) -> float:
        """The multiply-adds per second that the instructions used here can reach: fp32's, or mma.sync's in bf16."""
        return (self.bf16 * self.mma_sync if precision == "bf16" else self.fp32) / 2

    def floor(self, multiply_adds: float, bytes: float, precision: str = "fp32") -> float:
        """Seconds that the work takes at least: the longer of calculating and moving."""
        return max(multiply_adds / self.rate(precision), bytes / self.bandwidth)


def machines() -> tuple[str, ...]:
    """The names by which cards are asked for."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def machine(name: str) -> Machine:
    """A card by its file's name, such as ``h100``. Raises Unavailable listing those there are."""
    path = FOLDER / f"{name}.yaml"
    if name not in machines():
        raise Unavailable(f"no figures of a card '{name}' are at hand, only of {', '.join(machines())}")
    facts: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Machine(**{**facts, "capability": tuple(facts["capability"])})
