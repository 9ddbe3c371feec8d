"""The comparison itself: every difference with its place and both sides, and what is only written otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from alexdsl.compare.nets import net_differences
from alexdsl.compare.points import PARTS, Difference
from alexdsl.compare.recipes import data_differences, placement, solver_differences
from alexdsl.compare.starts import start_differences
from alexdsl.compare.steps import Step, net_steps, pair
from alexdsl.spec import Spec


@dataclass(frozen=True)
class Comparison:
    """Two specs side by side; ``pairs`` are the layers of the first by name and those of the second that they are."""

    a: Spec
    b: Spec
    steps: tuple[Sequence[Step], Sequence[Step]]
    pairs: Mapping[str, str]
    differences: Sequence[Difference]

    @property
    def same(self) -> bool:
        """Whether they mean the same."""
        return all(d.part == "same" for d in self.differences)

    def of(self, part: str) -> list[Difference]:
        return [d for d in self.differences if d.part == part]

    @property
    def totals(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Parameters and multiply-adds of an image, of both."""
        ours, theirs = ((sum(s.parameters for s in x), sum(s.multiply_adds for s in x)) for x in self.steps)
        return ours, theirs

    def common_weights(self) -> Iterator[tuple[str, str]]:
        """The names of weights and state that have one shape in both nets, each in ours and in theirs."""
        theirs = {step.name: step for step in self.steps[1]}
        for step in self.steps[0]:
            other = theirs.get(self.pairs.get(step.name, ""))
            for role, leaf in step.weights.items() if other else ():
                assert other is not None
                match = other.weights.get(role)
                if match is not None and self.a.shaped.type(leaf.name).shape == self.b.shaped.type(match.name).shape:
                    yield leaf.name, match.name


def compare(a: Spec, b: Spec) -> Comparison:
    """What differs between two specs."""
    steps = net_steps(a), net_steps(b)
    pairs = pair(*steps)
    found = [
        *net_differences(a, b, *steps, pairs),
        *start_differences(a, b, *steps, pairs),
        *data_differences(a, b),
        *solver_differences(a, b),
        *placement(a, b),
    ]
    return Comparison(a, b, steps, pairs, _gathered(found))


def _gathered(found: Iterable[Difference]) -> list[Difference]:
    """Differences that are the same in several layers as one, in the order of the parts."""
    merged: dict[Difference, list[str]] = {}
    for difference in found:
        merged.setdefault(replace(difference, where=()), []).extend(difference.where)
    whole = [replace(key, where=tuple(dict.fromkeys(where))) for key, where in merged.items()]
    return sorted(whole, key=lambda d: list(PARTS).index(d.part))
