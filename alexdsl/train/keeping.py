"""Which checkpoints of a run stay: the last few, and the best by validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from alexdsl.files import remove_folder
from alexdsl.spec import Spec
from alexdsl.train.checkpoint import checkpoints

KEPT = 2
"""Last checkpoints that stay unless ``--keep`` says otherwise."""


def judge(spec: Spec) -> tuple[str, bool]:
    """The metric by which validations are judged, and whether more of it is better: what the schedule watches, else
    the first report, else the loss."""
    attrs = spec.solver.schedule[1]
    if "rises" in attrs:
        return attrs["metric"].removeprefix("val."), bool(attrs["rises"])
    producers = spec.shaped.producers
    reported = {label: producers[name].kind for label, name in spec.shaped.outputs.items() if label != "logits"}
    metrics = [label for label, kind in reported.items() if spec.registry.layers[kind].metric]
    return (metrics[0], True) if metrics else ("loss", False)


def best_step(spec: Spec, validations: Sequence[Mapping[str, float]]) -> int | None:
    """The step of the best validation, the first of equals; none where there is none."""
    label, rises = judge(spec)
    judged = [v for v in validations if label in v and "step" in v]
    return int(max(judged, key=lambda v: v[label] if rises else -v[label])["step"]) if judged else None


def remove_others(folder: Path, count: int, best: int | None) -> None:
    """Remove all checkpoints but the last ``count`` and that of step ``best``."""
    for old in checkpoints(folder)[:-count]:
        if best is None or old.name != f"step-{best:08}":
            remove_folder(old)
