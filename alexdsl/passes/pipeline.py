"""The pipeline: every pass from the parsed graph to the program, in one tuple read from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alexdsl.ir.backend import Backend
from alexdsl.ir.graph import Graph, prune
from alexdsl.ir.protocol import STAGES, Registry
from alexdsl.ir.verify import verify
from alexdsl.passes.fuse import fuse
from alexdsl.passes.gather import gather_updates
from alexdsl.passes.grad import differentiate
from alexdsl.passes.infer import Report, infer
from alexdsl.passes.layout import layout
from alexdsl.passes.memory import plan_memory
from alexdsl.passes.place import place
from alexdsl.passes.predict import predict, without_dropout
from alexdsl.passes.prefetch import prefetch
from alexdsl.passes.save import save
from alexdsl.passes.schedule import schedule
from alexdsl.passes.slices import cut_batch, interleave
from alexdsl.passes.solve import solve


@dataclass(frozen=True)
class Options:
    """What the passes are told: the kinds, the backend, and choices that do not follow from the spec.

    ``mode``: ``train`` (a whole step), ``gradients`` (loss and gradients, no update) or ``predict``. Without
    ``dropout`` a training graph keeps every element. ``draft``: only the graph's sizes matter; passes that never need
    more memory are left out, and the verifier does not look. ``strategies``: those that were chosen by measuring, by
    the name of an op; the others' are chosen by cost.
    """

    registry: Registry
    backend: Backend
    mode: str = "train"
    dropout: bool = True
    save: str = "store"
    report: Report | None = None
    draft: bool = False
    strategies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """A named step of the pipeline; ``modes`` are those in which it runs, ``to`` the stage that it leads to, if any;
    ``drafted``: whether a draft needs it."""

    name: str
    run: Callable[[Graph, Options], Graph]
    modes: Sequence[str] = ("train", "gradients", "predict")
    to: str = ""
    drafted: bool = True


PIPELINE = (
    Pass("predict", lambda g, o: predict(g, o.registry), ("predict",)),
    Pass("dropout", lambda g, o: g if o.dropout else without_dropout(g, o.registry), ("train", "gradients")),
    Pass("prune", lambda g, o: prune(g)),
    Pass("slices", lambda g, o: cut_batch(g, o.registry), ("train", "gradients")),
    Pass("infer", lambda g, o: infer(g, o.registry, o.report), to="shaped"),
    Pass("grad", lambda g, o: differentiate(g, o.registry), ("train", "gradients"), "differentiated"),
    Pass("save", lambda g, o: save(g, o.registry, o.save), ("train", "gradients")),
    Pass("interleave", lambda g, o: interleave(g), ("train", "gradients")),
    Pass("solve", lambda g, o: solve(g, o.registry), ("train",)),
    Pass("place", lambda g, o: place(g, o.registry), to="placed"),
    Pass("prefetch", lambda g, o: prefetch(g, o.backend)),
    Pass("fuse", lambda g, o: fuse(g, o.registry, o.backend), to="fused"),
    Pass("layout", lambda g, o: layout(g, o.backend), to="laid-out"),
    Pass("schedule", lambda g, o: schedule(g, o.backend, o.strategies), to="scheduled"),
    Pass("gather", lambda g, o: gather_updates(g, o.registry), ("train",), drafted=False),
    Pass("memory", lambda g, o: plan_memory(g, o.registry)),
    Pass("lower", lambda g, o: o.backend.lower(g), to="program"),
)


def run_passes(graph: Graph, options: Options, until: str = "program") -> Iterator[tuple[str, Graph]]:
    """The graph after each pass with the pass's name, verified each time, up to the last pass of stage ``until``."""
    last = STAGES.index(until)
    graph = graph.with_ops(graph.ops, attrs={**graph.attrs, "mode": options.mode})
    yield "bind", graph
    for step in PIPELINE:
        if options.mode not in step.modes or (options.draft and not step.drafted):
            continue
        if step.to and STAGES.index(step.to) > last:
            return
        graph = step.run(graph, options)
        if not options.draft and options.report is None:
            verify(graph, options.registry)
        yield step.name, graph


def at_stage(graph: Graph, options: Options, stage: str) -> Graph:
    """The graph as it is at the end of a stage."""
    reached = graph
    for _, following in run_passes(graph, options, stage):
        reached = following
    return reached
