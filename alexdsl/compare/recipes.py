"""What two specs see and how they are trained: the data blocks, the solvers, and where layers are placed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from alexdsl.compare.points import Difference
from alexdsl.ir.parameters import call_text, value_text
from alexdsl.spec import Spec

DATA_WHY = {
    "resize": "shorter_side keeps proportions and takes the central square; exact squeezes any image",
    "scale": "the size of the pixels that the first layer gets, and with it that of its outputs and gradients",
    "mean": "inputs that are not centred slow the first layer down",
    "batch": "how many images a step averages over: a larger one bears a larger rate",
}
SOLVER_WHY = {
    "velocity": "inside: a change of the rate reaches the past gradients only slowly; outside: at once",
    "epochs": "how often training sees every image",
    "slices": "the same numbers in less memory, unless layers look at the whole batch",
}
KEPT = ("slices",)
"""Settings of a solver that change no result."""


def data_differences(a: Spec, b: Spec) -> Iterator[Difference]:
    """Differences of the data blocks, setting by setting."""
    if a.data is None or b.data is None:
        if a.data is not b.data:
            yield Difference("data", (), "data block", *("none" if s.data is None else "one" for s in (a, b)))
        return
    for setting in fields(a.data):
        one, two = getattr(a.data, setting.name), getattr(b.data, setting.name)
        if setting.name == "augment":
            yield from _augment(one, two)
        elif one != two:
            why = DATA_WHY.get(setting.name, "")
            yield Difference("data", (), setting.name, setting_text(one), setting_text(two), why)


def _augment(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> Iterator[Difference]:
    """Augmentations by kind; their order in the list says nothing."""
    one, two = ({type(item).__name__: item for item in items} for items in (ours, theirs))
    for name in dict.fromkeys((*one, *two)):
        if one.get(name) != two.get(name):
            a, b = (setting_text(each[name]) if name in each else "none" for each in (one, two))
            yield Difference("data", (), f"augment: {_snake(name)}", a, b)


def solver_differences(a: Spec, b: Spec) -> Iterator[Difference]:
    """Differences of the solvers beyond the rates of single parameters."""
    if not (a.bound.has_solver and b.bound.has_solver):
        if a.bound.has_solver != b.bound.has_solver:
            yield Difference("training", (), "solver", *("one" if s.bound.has_solver else "none" for s in (a, b)))
        return
    for name in (field.name for field in fields(a.solver)):
        one, two = getattr(a.solver, name), getattr(b.solver, name)
        if one == two or name == "attrs":
            continue
        part = "same" if name in KEPT else "training"
        yield Difference(part, (), name, _solver_text(name, one), _solver_text(name, two), SOLVER_WHY.get(name, ""))
    rates = a.registry.solvers[a.solver.kind].rates
    for name in dict.fromkeys((*a.solver.attrs, *b.solver.attrs)):
        one, two = a.solver.attrs.get(name), b.solver.attrs.get(name)
        # The rates of the parameters themselves are compared, with what blocks make of them.
        if one != two and name not in rates:
            yield Difference("training", (), name, value_text(one), value_text(two), SOLVER_WHY.get(name, ""))


def placement(a: Spec, b: Spec) -> Iterator[Difference]:
    """Where layers are computed, which changes nothing of what is."""
    where = [{op.layer: op.attrs["place"] for op in spec.graph if op.layer and "place" in op.attrs} for spec in (a, b)]
    if where[0] != where[1]:
        one, two = (", ".join(spec.graph.attrs["devices"]) for spec in (a, b))
        yield Difference("same", (), "place", one, two, "where layers are computed, never what")


def _solver_text(name: str, value: Any) -> str:
    if name == "schedule":
        kind, attrs = value
        return call_text(kind, [f"{k}={value_text(v)}" for k, v in attrs.items() if k != "rises"])
    return value_text(value)


def setting_text(value: Any) -> str:
    """A setting of a data block as a spec would say it."""
    if not is_dataclass(value) or isinstance(value, type):
        return value_text(value) if not isinstance(value, str | Mapping) else str(value)
    given = []
    for number, setting in enumerate(fields(value)):
        one = getattr(value, setting.name)
        if number == 0:
            given.append(_quoted(one))
        elif one != setting.default and one is not None:
            name = "else" if setting.name == "otherwise" else setting.name
            given.append(_quoted(one) if name in ("height", "width", "labels") else f"{name}={_quoted(one)}")
    return call_text(_snake(type(value).__name__), given)


def _quoted(value: Any) -> str:
    if isinstance(value, str) and not re.fullmatch(r"stdev|eigenvalue", value):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else setting_text(value)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
