"""What two nets compute: layers added, removed and changed, their order, and arguments that only look different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alexdsl.compare.points import Difference
from alexdsl.compare.steps import Step
from alexdsl.ir.parameters import value_text
from alexdsl.layers.elementwise import Elementwise
from alexdsl.spec import Spec

WHY = {
    ("lrn", "alpha of a map's square"): (
        "per = sum weighs the sum of squares by alpha, per = mean their mean: alpha is divided by size "
        "(the paper's formula sums; its code, Caffe and PyTorch divide)"
    ),
    ("lrn", "windows"): "maps near the cut between towers have fewer neighbours that damp them",
    ("lrn", "k"): "every output is larger where k is smaller, by up to the ratio of both, to the power of beta",
    ("dropout", "scale"): "train: what remains is scaled up in training; test: outputs are scaled down in prediction",
    ("batch_norm", "statistics in training"): "what an image is normalised by in training",
}
"""What a difference of an aspect of a kind's meaning comes to."""
MEANING_ATTRS = ("towers", "sees", "place", "seed", "stream", "first", "bias")
"""Attributes that are no arguments, or that meaning covers."""


def net_differences(
    a: Spec, b: Spec, ours: Sequence[Step], theirs: Sequence[Step], pairs: Mapping[str, str]
) -> Iterator[Difference]:
    """Every difference between what two nets compute."""
    yield from _inputs(a, b)
    by_name = {step.name: step for step in theirs}
    yield from _unpaired(ours, theirs, pairs)
    reordered = set[str]()
    for statement, order, other, harmless in _orders(ours, theirs, pairs):
        reordered.add(statement)
        why = "the largest of rising values is the rise of the largest" if harmless else _order_why(order, other)
        part = "same" if harmless else "net"
        yield Difference(part, (statement,), "order", ", ".join(order), ", ".join(other), why)
    last = _last_steps(ours), _last_steps(theirs)
    for step in ours:
        if step.name not in pairs:
            continue
        other_step = by_name[pairs[step.name]]
        yield from _arguments(step, other_step)
        yield from _written(step, other_step)
        if step.weights and step.label != other_step.label:
            why = "first weights are drawn by name, and checkpoints name them so"
            yield Difference("same", (step.label,), "name", step.label, other_step.label, why)
        if step.statement not in reordered:
            yield from _shapes(step, other_step)
            yield from _flow(step, other_step, pairs, last)
    yield from _reports(a, b, pairs)


def _inputs(a: Spec, b: Spec) -> Iterator[Difference]:
    shapes = [
        [value_text(op.attrs["shape"]) for op in spec.shaped if op.kind == "input" and "shape" in op.attrs]
        for spec in (a, b)
    ]
    if shapes[0] != shapes[1]:
        a_text, b_text = (", ".join(each) for each in shapes)
        yield Difference("net", ("input",), "shape", a_text, b_text)


def _unpaired(ours: Sequence[Step], theirs: Sequence[Step], pairs: Mapping[str, str]) -> Iterator[Difference]:
    """Layers that only one net has; where one stands in another's place, both."""
    taken = set(pairs.values())
    missing = [step for step in ours if step.name not in pairs and not step.kind.metric]
    extra = [step for step in theirs if step.name not in taken and not step.kind.metric]
    for step in missing:
        instead = next((e for e in extra if e.statement == step.statement and e.shape == step.shape), None)
        if instead is not None:
            extra.remove(instead)
            yield Difference("net", (step.statement,), "layer", _layer(step), _layer(instead))
        else:
            yield Difference("net", (step.label,), "layer", _layer(step), "none")
    for step in extra:
        yield Difference("net", (step.label,), "layer", "none", _layer(step))


def _layer(step: Step) -> str:
    shown = ", ".join(f"{name} {text}" for name, text in step.meaning.items())
    return f"{step.op.kind} ({shown})" if shown else step.op.kind


def _orders(
    ours: Sequence[Step], theirs: Sequence[Step], pairs: Mapping[str, str]
) -> Iterator[tuple[str, list[str], list[str], bool]]:
    """Chains with the same steps in another order: their name, both orders, and whether that changes no value."""
    for statement in dict.fromkeys(step.statement for step in ours):
        own = [s for s in ours if s.statement == statement and s.name in pairs]
        names = [pairs[s.name] for s in own]
        other = [s for s in theirs if s.name in names]
        if [s.name for s in other] == names or len(own) < 2:
            continue
        moved = [s for s, t in zip(own, other, strict=True) if pairs[s.name] != t.name]
        rising = [s for s in moved if isinstance(s.kind, Elementwise) and s.kind.rising]
        harmless = all(s in rising or s.op.kind == "maxpool" for s in moved) and _kept(own, other, pairs, rising)
        yield statement, [s.op.kind for s in own], [s.op.kind for s in other], harmless


def _kept(own: Sequence[Step], other: Sequence[Step], pairs: Mapping[str, str], rising: Sequence[Step]) -> bool:
    """Whether rising functions keep their order among themselves, and so do poolings."""
    moving = {pairs[s.name] for s in rising}
    ours, theirs = [pairs[s.name] for s in own], [s.name for s in other]
    return all(
        [n for n in ours if (n in moving) == which] == [n for n in theirs if (n in moving) == which]
        for which in (True, False)
    )


def _order_why(order: Sequence[str], other: Sequence[str]) -> str:
    first = {name: order.index(name) - other.index(name) for name in ("lrn", "maxpool") if name in order}
    if len(first) == 2 and first["lrn"] * first["maxpool"] < 0:
        late, early = ("B", "A") if first["lrn"] < 0 else ("A", "B")
        return f"{early} normalises all pixels and then pools; {late} normalises what pooling leaves, which is cheaper"
    return ""


def _last_steps(steps: Sequence[Step]) -> Mapping[str, str]:
    """The last step of every chain, by the chain's name."""
    return {step.statement: step.name for step in steps}


def _arguments(step: Step, other: Step) -> Iterator[Difference]:
    for name in dict.fromkeys((*step.meaning, *other.meaning)):
        a, b = step.meaning.get(name, "none"), other.meaning.get(name, "none")
        if a != b:
            why = WHY.get((step.op.kind, name), "")
            yield Difference("net", (step.label,), f"{step.op.kind}: {name}", a, b, why)


def _shapes(step: Step, other: Step) -> Iterator[Difference]:
    """Outputs that differ in shape though the layers are the same: what flows in differs."""
    if step.meaning == other.meaning and step.shape != other.shape:
        a, b = ("x".join(map(str, s.shape)) for s in (step, other))
        yield Difference("net", (step.label,), "output, by what flows in", a, b)


def _written(step: Step, other: Step) -> Iterator[Difference]:
    """Arguments that differ in the text and not in meaning."""
    if step.meaning != other.meaning:
        return
    texts = []
    for one in (step, other):
        towers = one.op.attrs.get("towers", 1)
        shown = {k: value_text(v) for k, v in one.op.attrs.items() if k not in MEANING_ATTRS}
        if towers > 1 and one.kind.sees:
            shown["towers"] = f"{towers}, sees = {one.op.attrs['sees']}"
        texts.append(shown)
    names = [n for n in dict.fromkeys((*texts[0], *texts[1])) if texts[0].get(n) != texts[1].get(n)]
    if names:
        a, b = (", ".join(f"{n} = {t[n]}" for n in names if n in t) or "no towers" for t in texts)
        why = "; ".join(f"{name} {text}" for name, text in step.meaning.items() if name.startswith("an output sees"))
        yield Difference("same", (step.label,), step.op.kind, a, b, why)


def _flow(
    step: Step, other: Step, pairs: Mapping[str, str], last: tuple[Mapping[str, str], Mapping[str, str]]
) -> Iterator[Difference]:
    """Steps that read another value."""
    ends = [{name: statement for statement, name in each.items()} for each in last]
    same = len(step.sources) == len(other.sources) and all(
        pairs.get(s, s) == t or (s in ends[0] and t in ends[1] and ends[0][s] == ends[1][t])
        for s, t in zip(step.sources, other.sources, strict=True)
    )
    if same:
        return
    # What was put in between, taken away or replaced is told of the layer itself.
    if all(pairs.get(s) is None and s != t for s, t in zip(step.sources, other.sources, strict=False)):
        return
    if any(t not in pairs.values() and t not in pairs for t in other.sources):
        return
    yield Difference("net", (step.label,), "reads", ", ".join(step.sources), ", ".join(other.sources))


def _reports(a: Spec, b: Spec, pairs: Mapping[str, str]) -> Iterator[Difference]:
    labels = [[label for label in spec.shaped.outputs if label not in ("loss", "logits")] for spec in (a, b)]
    if sorted(labels[0]) != sorted(labels[1]):
        a_text, b_text = (", ".join(names) or "none" for names in labels)
        yield Difference("training", (), "reports", a_text, b_text)
