"""The numerical difference of what two nets predict from the same weights, chain by chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from alexdsl.compare.comparison import Comparison
from alexdsl.compare.steps import Step
from alexdsl.ir.philox import normals
from alexdsl.ir.protocol import Array
from alexdsl.program import Program, compile
from alexdsl.spec import Spec

IMAGES = 4
DEVIATION = 64.0
"""Standard deviation of the images' numbers before the data block's scale: much as that of photographs."""
ROUNDING = 1e-5
"""Relative differences up to here are roundings of float32 in another order."""


class Incomparable(Exception):
    """The nets have no outputs to compare; the message says why."""


@dataclass(frozen=True)
class Outputs:
    """``carried`` of ``of`` arrays of the second net are the first's, the others its own first values; ``chains`` are
    the relative differences (root mean square) at the ends of chains that both have, in order, and last of the scores;
    ``agree``: images of ``images`` whose best class is the same."""

    carried: int
    of: int
    chains: Mapping[str, float]
    largest: float
    images: int
    agree: int

    @property
    def first(self) -> str | None:
        """The first chain that differs by more than rounding."""
        return next((name for name, value in self.chains.items() if not value <= ROUNDING), None)


def compare_outputs(comparison: Comparison, progress: Callable[[str], None]) -> Outputs:
    """Run both nets on random images from the first one's first weights. Raises Incomparable."""
    shapes = [
        next(op.attrs["shape"] for op in spec.graph if op.kind == "input" and "shape" in op.attrs)
        for spec in (comparison.a, comparison.b)
    ]
    if shapes[0] != shapes[1]:
        raise Incomparable(
            f"the nets take images of {list(shapes[0])} and {list(shapes[1])}: their outputs differ anyhow"
        )
    ends = list(_ends(comparison))
    if "logits" not in comparison.a.graph.outputs or "logits" not in comparison.b.graph.outputs:
        raise Incomparable("a net without scores has no outputs to compare")
    shape = (IMAGES, *shapes[0])
    scale = comparison.a.data.scale if comparison.a.data else 1.0
    images = (DEVIATION * scale * normals(0, "compare/images", prod(shape))).astype(np.float32).reshape(shape)
    first = _program(comparison.a, [mine for mine, _ in ends], progress)
    names = {theirs: mine for mine, theirs in comparison.common_weights()}
    try:
        ours = first.evaluate(images)
        weights = {name: _leaf(first, mine) for name, mine in names.items()}
    finally:
        first.close()
    second = _program(comparison.b, [other for _, other in ends], progress)
    try:
        second.use(second.home)
        for name, array in weights.items():
            (second.weights if name in second.weights else second.state)[name] = array
        theirs = second.evaluate(images)
        of = len(second.weights) + len(second.state)
    finally:
        second.close()
    chains = {mine.statement: _relative(ours[mine.name], theirs[other.name]) for mine, other in ends}
    a, b = ours["logits"], theirs["logits"]
    if a.shape != b.shape:
        return Outputs(len(weights), of, chains, float("nan"), IMAGES, 0)
    chains["scores"] = _relative(a, b)
    agree = int((a.argmax(1) == b.argmax(1)).sum())
    return Outputs(len(weights), of, chains, float(np.abs(a - b).max()), IMAGES, agree)


def _ends(comparison: Comparison) -> Iterator[tuple[Step, Step]]:
    """The last steps of chains that both nets have and that end in one shape."""
    ours, theirs = ({step.statement: step for step in steps if not _scalar(step)} for steps in comparison.steps)
    known = {step.name: step for step in comparison.steps[1]}
    for statement, mine in ours.items():
        paired = [known[comparison.pairs[s.name]] for s in comparison.steps[0]
                  if s.statement == statement and s.name in comparison.pairs]  # fmt: skip
        other = theirs.get(paired[0].statement) if paired else None
        if other is not None and other.shape == mine.shape:
            yield mine, other


def _scalar(step: Step) -> bool:
    return step.kind.loss or step.kind.metric or not step.shape


def _program(spec: Spec, seen: Sequence[Step], progress: Callable[[str], None]) -> Program:
    """The net for a few images, predicting also what these steps give."""
    spec = spec.with_batch(IMAGES)
    outputs = {"logits": spec.graph.outputs["logits"], **{step.name: step.op.name for step in seen}}
    graph = spec.graph.with_ops(spec.graph.ops, outputs=outputs)
    program = compile(replace(spec, bound=replace(spec.bound, graph=graph)), progress=progress)
    program.home = "predict"
    return program


def _leaf(program: Program, name: str) -> Array:
    return program.weights[name] if name in program.weights else program.state[name]


def _relative(a: Array, b: Array) -> float:
    """The root mean square of the difference over that of the larger one."""
    size = max(float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) for x in (a, b))
    off = float(np.sqrt(np.mean(np.square(np.subtract(a, b, dtype=np.float64)))))
    return off / size if size else 0.0
