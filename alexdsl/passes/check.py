"""Checks a bound spec's shapes: every misfit becomes a diagnostic at its place."""

from __future__ import annotations

from alexdsl.ir.graph import Graph, prune
from alexdsl.ir.protocol import Registry
from alexdsl.language import SpecError
from alexdsl.passes.bind import Bound
from alexdsl.passes.infer import infer
from alexdsl.passes.misfits import misfits


def check_shapes(bound: Bound, registry: Registry) -> Graph:
    """The spec's forward graph with types, without layers that reach no output; those are checked all the same.

    Raises SpecError with every misfit.
    """
    found, _ = misfits(bound.graph, registry, bound.spans, bound.spoken)
    if found:
        raise SpecError(found)
    return infer(prune(bound.graph), registry)
