"""``alexdsl eval``: how good a trained net is on the held-out images, in all and class by class."""

from __future__ import annotations

import argparse
import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexdsl.cli import InputError
from alexdsl.cli.common import device_arguments, devices, overrides, set_argument

if TYPE_CHECKING:
    from alexdsl.data.sources import Source
    from alexdsl.train.evaluation import Evaluation

RUNS = Path("runs")
SHOWN = 40
"""Classes that are listed; of more, the worst."""


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl eval                                       the newest run in runs/, its newest checkpoint
  alexdsl eval runs/alexnet-1 --ten-crop             as the paper's results: mean of ten crops
  alexdsl eval runs/alexnet-1 --csv guesses.csv --confusion confusion.png
  alexdsl eval runs/alexnet-1 --set 'data.val=folder("other")'
"""
    command.add_argument("where", metavar="CHECKPOINT|RUN", nargs="?", type=Path, help="a checkpoint's or run's folder")
    set_argument(command)
    command.add_argument(
        "--ten-crop", action="store_true", help="the mean of the centre, the corners and their mirrors"
    )
    command.add_argument("--csv", metavar="FILE", type=Path, help="write every image's label and first guesses")
    command.add_argument("--confusion", metavar="FILE", type=Path, help="draw what is taken for what, as PNG")
    command.add_argument("--json", action="store_true", help="the same as JSON, with all classes")
    device_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Evaluate; see ``arguments``."""
    from alexdsl.data.errors import DataError
    from alexdsl.ir.backend import Gap, Unavailable
    from alexdsl.train.checkpoint import CheckpointError
    from alexdsl.train.folder import RunError, RunFolder, find_checkpoint

    try:
        path = find_checkpoint(args.where if args.where is not None else RunFolder.newest(RUNS).path)
        facts, found, source = _evaluated(args, path)
        if args.csv is not None:
            _write(args.csv, _csv(found, source).encode())
        if args.confusion is not None:
            _write(args.confusion, _png(found))
    except (CheckpointError, RunError, DataError, Gap, Unavailable) as error:
        raise InputError(str(error)) from error
    if args.json:
        print(json.dumps({**facts, "per_class": _per_class(found)}, indent=1))
    else:
        _show(facts, found)
    return 0


def _evaluated(args: argparse.Namespace, path: Path) -> tuple[dict[str, Any], Evaluation, Source]:
    """Facts about the evaluation, what it found, and the images."""
    from rich.console import Console

    from alexdsl.cli.predict import load_weights, spec_of
    from alexdsl.cli.run.checks import check_memory
    from alexdsl.cli.show import Show
    from alexdsl.data.loader import Loader
    from alexdsl.data.prepare import TEN
    from alexdsl.data.resolve import resolve
    from alexdsl.program import compile
    from alexdsl.train.checkpoint import read_state, read_statistics
    from alexdsl.train.evaluation import evaluate

    state = read_state(path)
    spec = spec_of(path, replace(state, overrides={**state.overrides, **overrides(args.set)}))
    assert spec.data is not None
    resolved = resolve(spec.data)
    if resolved.val is None:
        raise InputError("there are no held-out images; --set 'data.val=split(5%)' or a folder says which to take")
    if tuple(resolved.classes) != tuple(state.classes):
        raise InputError(f"the data has other classes than {path}: {', '.join(map(str, resolved.classes[:5]))} ...")
    views = TEN if args.ten_crop or spec.data.test == "ten_crop" else 1
    if views > 1 and spec.data.crop_size is None:
        raise InputError("ten crops need a crop smaller than the images: the data block has none")
    choice = devices(args, spec.graph.attrs["devices"])
    check_memory(spec, choice, "the evaluation", ["predict"])
    program = compile(spec, choice.backend, device=choice.bound)
    load_weights(program, path)
    loader = Loader(resolved.train, spec.data, read_statistics(path), spec.seed, val=resolved.val)
    with loader, Show(Console(stderr=True)).counting("evaluating") as evaluated:
        found = evaluate(
            loader.evaluate_batches(10 if views > 1 else 1),
            views,
            lambda images: program.evaluate(images)["logits"],
            tuple(state.classes),
            lambda done: evaluated(done, len(resolved.val or ())),
        )
    program.close()
    tops = [top for top in (1, 5) if top < len(state.classes)]
    facts: dict[str, Any] = {"checkpoint": str(path), "images": len(found.labels), "views": views}
    for top in tops:
        facts[f"top{top}"], facts[f"top{top}_error"] = found.accuracy(top)
    return facts, found, resolved.val


def _per_class(found: Evaluation) -> list[dict[str, Any]]:
    """Each class: its images, how many of them are right, and what it is most often taken for instead."""
    import numpy as np

    confusion, five = found.confusion, found.hits(5)
    rows = []
    for i, name in enumerate(found.classes):
        wrong = confusion[i].copy()
        wrong[i] = 0
        worst, count = int(np.argmax(wrong)), int(confusion[i].sum())
        rows.append(
            {
                "class": name,
                "images": count,
                "top1": float(confusion[i, i] / count) if count else None,
                "top5": float(five[found.labels == i].mean()) if count else None,
                "taken_for": found.classes[worst] if wrong[worst] else None,
                "times": int(wrong[worst]),
            }
        )
    return rows


def _show(facts: dict[str, Any], found: Evaluation) -> None:
    tops = [top for top in (1, 5) if f"top{top}" in facts]
    whole = ", ".join(f"top-{top} {facts[f'top{top}']:.2%} +- {facts[f'top{top}_error']:.2%}" for top in tops)
    seen = f"the mean of {facts['views']} crops" if facts["views"] > 1 else "the centre crop"
    print(f"{facts['checkpoint']}: {facts['images']:,} held-out images, {seen}: {whole} (standard error)")
    rows = _per_class(found)
    shown = rows
    if len(rows) > SHOWN:
        shown = sorted(rows, key=lambda row: 2.0 if row["top1"] is None else row["top1"])[:SHOWN]
        print(f"the worst {SHOWN} of {len(rows)} classes (--json lists all):")
    width = max(5, *(len(row["class"]) for row in shown))
    head = "".join(f"{f'top-{top}':>9}" for top in tops)
    print(f"{'class':<{width}} {'images':>7}{head}  most often taken for")
    for row in shown:
        parts = "".join(f"{'' if row[f'top{top}'] is None else format(row[f'top{top}'], '.1%'):>9}" for top in tops)
        other = f"{row['taken_for']} ({row['times']})" if row["taken_for"] else ""
        print(f"{row['class']:<{width}} {row['images']:>7}{parts}  {other}".rstrip())


def _csv(found: Evaluation, source: Source) -> str:
    """A line for each image: its name, its class, and the first guesses with their probabilities."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    count = found.guesses.shape[1]
    writer.writerow(
        ["image", "label", *(word for i in range(1, count + 1) for word in (f"guess{i}", f"probability{i}"))]
    )
    for i in range(len(found.labels)):
        pairs = zip(found.guesses[i], found.shares[i], strict=True)
        guessed = [word for guess, share in pairs for word in (found.classes[guess], f"{share:.6f}")]
        writer.writerow([source.name(i), found.classes[found.labels[i]], *guessed])
    return text.getvalue()


def _png(found: Evaluation) -> bytes:
    from alexdsl.train.evaluation import confusion_picture

    drawn = io.BytesIO()
    confusion_picture(found).save(drawn, "PNG")
    return drawn.getvalue()


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
