"""Assembles the registry: the IR's own ops, the solvers, and the layer kinds of every installed distribution."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from alexdsl import layers
from alexdsl.ir.backend import Backend
from alexdsl.ir.clipping import CLIPPING
from alexdsl.ir.protocol import Registry
from alexdsl.ir.structure import STRUCTURE
from alexdsl.solvers import SCHEDULES, SOLVERS


@cache
def registry() -> Registry:
    """All kinds known here. Other distributions add theirs as modules with ``OPS`` and perhaps ``INITIALISERS``, under
    the entry point group ``alexdsl.layers``."""
    found = (
        Registry().extended((*STRUCTURE, *CLIPPING, *SOLVERS), (), SCHEDULES).extended(layers.OPS, layers.INITIALISERS)
    )
    for point in entry_points(group="alexdsl.layers"):
        if point.value != "alexdsl.layers":
            module = point.load()
            found = found.extended(module.OPS, getattr(module, "INITIALISERS", ()))
    return found


def backends() -> tuple[str, ...]:
    """The names of the installed backends."""
    return tuple(sorted(point.name for point in entry_points(group="alexdsl.backends")))


def backend(name: str) -> Backend:
    """The installed backend called ``name``; getting it compiles nothing. Raises LookupError with the known ones."""
    points = {point.name: point for point in entry_points(group="alexdsl.backends")}
    if name not in points:
        raise LookupError(f"there is no backend '{name}'; installed: {', '.join(sorted(points))}")
    found: Backend = points[name].load()(registry())
    return found
