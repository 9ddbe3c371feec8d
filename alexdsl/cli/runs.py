"""``alexdsl runs``: what runs there are and how far they came; of two, what differs in specs and in results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexdsl.cli import InputError

if TYPE_CHECKING:
    from alexdsl.spec import Spec
    from alexdsl.train.folder import RunFolder

RUNS = Path("runs")
LAST = 25
"""Steps over which a run's last loss is averaged."""


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl runs                                       the runs in runs/
  alexdsl runs elsewhere                             those in another folder
  alexdsl runs runs/alexnet-1 runs/alexnet-2         what differs between two, in their specs and in their results
"""
    command.add_argument(
        "folders", metavar="DIR", nargs="*", type=Path, help="a folder of runs (default: runs), or two runs to compare"
    )
    command.add_argument("--json", action="store_true", help="the same as JSON")


@dataclass(frozen=True)
class Summary:
    """A run in a line: where it is, its spec, the steps done, the mean loss of the last of them, the best validation of
    each metric with its step, when it was last written to (seconds since 1970), and its verdicts of health."""

    run: str
    spec: str
    steps: int
    loss: float | None
    best: Mapping[str, tuple[float, int]]
    seed: int
    written: float
    health: Sequence[str]


def run(args: argparse.Namespace) -> int:
    """List or compare; see ``arguments``."""
    from alexdsl.train.checkpoint import CheckpointError
    from alexdsl.train.folder import RunError

    try:
        if len(args.folders) == 2:
            return _compare(args)
        if len(args.folders) > 2:
            raise InputError("alexdsl runs takes a folder of runs, or two runs to compare")
        return _list(args)
    except (RunError, CheckpointError) as error:
        raise InputError(str(error)) from error


def summary(folder: RunFolder) -> Summary:
    """What a run's files say. Raises RunError."""
    facts = folder.facts
    losses: list[float] = []
    best: dict[str, tuple[float, int]] = {}
    steps, verdicts = 0, []
    for record in folder.records():
        steps = max(steps, record["step"])
        if "loss" in record:
            losses = [*losses[1 - LAST :], float(record["loss"])]
        if "health" in record:
            verdicts.append(f"step {record['step']}: {record.get('layer')} {record['health']}")
        for name, value in record.items():
            metric = name.removeprefix("val.")
            if name == metric or metric in ("images", "seconds"):
                continue
            sign = -1 if "loss" in metric else 1
            if metric not in best or sign * value > sign * best[metric][0]:
                best[metric] = value, record["step"]
    loss = sum(losses) / len(losses) if losses else None
    return Summary(
        str(folder.path), str(facts["spec"]), steps, loss, best, facts["seed"], folder.written, tuple(verdicts)
    )


def _list(args: argparse.Namespace) -> int:
    from alexdsl.train.folder import RunError, RunFolder

    base = args.folders[0] if args.folders else RUNS
    if (base / "run.json").is_file():
        paths = [base]
    elif base.is_dir():
        paths = sorted(path.parent for path in base.glob("*/run.json"))
    else:
        raise InputError(f"there is no folder {base}: train a net (alexdsl run SPEC), or name a folder of runs")
    found, broken = [], []
    for path in paths:
        try:
            found.append(summary(RunFolder(path)))
        except RunError as error:
            broken.append(str(error))
    found.sort(key=lambda one: one.written)
    if args.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    elif not found and not broken:
        print(f"there are no runs in {base}")
    else:
        _table([("run", "spec", "steps", "loss", "best validation", "written"), *map(_row, found)])
    for sentence in broken:
        print(f"not listed: {sentence}")
    return 0


def _row(one: Summary) -> tuple[str, ...]:
    from datetime import datetime

    when = datetime.fromtimestamp(one.written).strftime("%Y-%m-%d %H:%M")
    loss = "" if one.loss is None else f"{one.loss:.4f}"
    return one.run, Path(one.spec).name, f"{one.steps:,}", loss, _best(one), when


def _best(one: Summary) -> str:
    """The best validations, accuracies before losses."""
    accuracies = [n for n in one.best if "loss" not in n]
    return ", ".join(f"{name} {_figure(name, one.best[name][0])}" for name in accuracies or one.best)


def _figure(name: str, value: float) -> str:
    return f"{value:.4f}" if "loss" in name else f"{value:.1%}"


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (f"{text:{'>' if i in (2, 3) else '<'}{widths[i]}}" for i, text in enumerate(row))
        print("  ".join(cells).rstrip())


def _compare(args: argparse.Namespace) -> int:
    from alexdsl.cli.diff import facts, report
    from alexdsl.compare import compare
    from alexdsl.train.folder import RunFolder

    folders = [RunFolder.open(path) for path in args.folders]
    a, b = (summary(folder) for folder in folders)
    comparison = compare(*(_spec(folder) for folder in folders))
    if args.json:
        print(json.dumps({"a": asdict(a), "b": asdict(b), "specs": facts(comparison)}, indent=1))
        return 0 if comparison.same else 1
    for line in report(comparison, (a.run, b.run)):
        print(line)
    print()
    print("results")
    rows = [("", "A", "B"), *_results(a, b)]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for row in rows:
        print(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip())
    return 0 if comparison.same else 1


def _results(a: Summary, b: Summary) -> Iterator[tuple[str, str, str]]:
    """What two runs reached, a line each."""
    yield "steps", f"{a.steps:,}", f"{b.steps:,}"
    one, two = ("" if x.loss is None else f"{x.loss:.4f}" for x in (a, b))
    yield f"loss of the last {LAST} steps", one, two
    for name in dict.fromkeys((*a.best, *b.best)):
        one, two = ("" if name not in x.best else _reached(name, *x.best[name]) for x in (a, b))
        yield f"best val.{name}", one, two
    yield "seed", str(a.seed), str(b.seed)
    yield "health", "; ".join(a.health) or "no verdict", "; ".join(b.health) or "no verdict"


def _reached(name: str, value: float, step: int) -> str:
    return f"{_figure(name, value)} at step {step:,}"


def _spec(folder: RunFolder) -> Spec:
    """The spec of a run as it was run; its classes are those of its checkpoint, so that its data may be gone. Raises
    RunError, SpecError."""
    from alexdsl.language import Source
    from alexdsl.spec import from_source
    from alexdsl.train.checkpoint import read_state

    known: dict[str, Any] = folder.facts
    overrides = {str(name): str(value) for name, value in known["overrides"].items()}
    last = folder.last_checkpoint()
    if last is not None and "data.classes" not in overrides:
        overrides["data.classes"] = str(len(read_state(last).classes))
    return from_source(Source(str(known["spec"]), folder.spec_text), Path(known["spec"]), overrides, known["seed"])
