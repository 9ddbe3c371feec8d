"""What a checkpoint says of itself, for people and for those who compare runs."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from typing import Any

from alexdsl import __version__
from alexdsl.data.loader import Loader
from alexdsl.ir.text import print_graph
from alexdsl.program import Program


def program_hash(program: Program) -> str:
    """SHA-256 of the training program's text, ``program.ir`` of its run."""
    return hashlib.sha256(print_graph(program.graph("train")).encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Of what numbers may hang on."""
    return {"alexdsl": __version__, "python": platform.python_version(), **{n: version(n) for n in ("numba", "numpy")}}


def describe(program: Program, loader: Loader, text_hash: str) -> dict[str, Any]:
    """Versions, the program's hash, the optimiser, the effective batch, where in the data and in the random numbers
    the next step begins. Random numbers have no other state: each is a function of seed, name, step and place."""
    spec, step = program.spec, program.steps
    solver = spec.solver
    seen = step * program.batch
    return {
        "versions": versions(),
        "program": text_hash,
        "optimiser": {"kind": solver.kind, **solver.attrs, "warmup": solver.warmup, "schedule": list(solver.schedule)},
        "batch": {"effective": program.batch, "slices": solver.slices, "at_once": program.batch // solver.slices},
        "data": {"images": len(loader.train), "epoch": seen // len(loader.train), "position": seen % len(loader.train)},
        "random": {"generator": "Philox 4x32-10", "seed": spec.seed, "step": step},
    }
