"""How weights start and how fast each learns: what two nets say of the parameters that both have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alexdsl.compare.points import Difference
from alexdsl.compare.steps import Step
from alexdsl.ir.graph import Op
from alexdsl.ir.parameters import value_text
from alexdsl.spec import Spec

RATES = {"lr": "learning rate", "decay": "weight decay"}
"""Rates that people call otherwise."""


def start_differences(
    a: Spec, b: Spec, ours: Sequence[Step], theirs: Sequence[Step], pairs: Mapping[str, str]
) -> Iterator[Difference]:
    """Differences in first values and rates of the parameters of layers that both nets have."""
    by_name = {step.name: step for step in theirs}
    for step in ours:
        other = by_name.get(pairs.get(step.name, ""))
        for role, leaf in step.weights.items() if other else ():
            match = other.weights.get(role) if other else None
            if match is None or leaf.kind != "parameter" or match.kind != "parameter":
                continue
            yield from _start(step, role, leaf, match)
            for rate in a.registry.solvers[a.solver.kind].rates:
                one, two = leaf.attrs.get(rate), match.attrs.get(rate)
                if one != two and one is not None and two is not None:
                    what = f"{RATES.get(rate, rate)} of {_plural(role)}"
                    yield Difference("training", (step.label,), what, value_text(one), value_text(two))


def _start(step: Step, role: str, leaf: Op, match: Op) -> Iterator[Difference]:
    one, two = (op.attrs.get("init") for op in (leaf, match))
    what = f"first {_plural(role)}"
    if one != two:
        why = ""
        if role == "bias" and step.op.kind in ("conv", "linear"):
            why = "positive ones open the relus at first, and can drown the image where weights are small"
        yield Difference("start", (step.label,), what, value_text(one), value_text(two), why)
    elif one is not None and "fan" in one and _fan(one["fan"], leaf) != _fan(one["fan"], match):
        a, b = (f"{value_text(one)}, which is {_fan(one['fan'], op):g}" for op in (leaf, match))
        yield Difference("start", (step.label,), what, a, b)


def _fan(which: str, leaf: Op) -> float:
    """The fan that first weights are scaled by."""
    into, out = leaf.attrs["fans"]
    return float({"in": into, "out": out}.get(which, (into + out) / 2))


def _plural(role: str) -> str:
    return "biases" if role == "bias" else f"{role}s"
