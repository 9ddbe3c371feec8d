"""``alexdsl predict``: classifies images with a trained net; everything it needs is in the checkpoint."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexdsl.cli import InputError
from alexdsl.cli.common import device_arguments, devices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from alexdsl.data.prepare import Preparer
    from alexdsl.program import Program
    from alexdsl.spec import Spec
    from alexdsl.train.checkpoint import State

RUNS = Path("runs")


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl predict photo.jpg                          by the newest run in runs/
  alexdsl predict photos/                            all images in a folder
  alexdsl predict *.jpg --run runs/alexnet-2 --top 3
  alexdsl predict photo.jpg --checkpoint runs/alexnet-2/checkpoints/step-00010000 --json
"""
    command.add_argument("images", metavar="IMAGE", nargs="+", help="an image file, or a folder of them")
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--run", metavar="DIR", dest="folder", type=Path, help="a run's folder (default: the newest one in runs/)"
    )
    which.add_argument(
        "--checkpoint",
        metavar="DIR",
        type=Path,
        help="a checkpoint's folder, such as runs/alexnet-1/checkpoints/step-00000500",
    )
    command.add_argument("--top", metavar="N", type=int, default=5, help="how many classes to name (default: 5)")
    command.add_argument("--json", action="store_true", help="the same as JSON")
    device_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Classify; see ``arguments``. Images that cannot be read are named and left out; the exit code is then 1."""
    from alexdsl.data.errors import DataError
    from alexdsl.ir.backend import Gap, Unavailable
    from alexdsl.train.checkpoint import CheckpointError
    from alexdsl.train.folder import RunError

    if args.top < 1:
        raise InputError("--top expects a number of at least 1")
    try:
        path = args.checkpoint or _newest(args.folder)
        return _run(args, path)
    except BrokenPipeError:
        raise
    except (CheckpointError, RunError, DataError, Gap, Unavailable, OSError) as error:
        raise InputError(str(error)) from error


def _newest(folder: Path | None) -> Path:
    """The newest checkpoint of a run, or of the newest run. Raises InputError, RunError."""
    from alexdsl.train.folder import RunFolder

    if folder is None and not any(RUNS.glob("*/run.json")):
        raise InputError("there is no run in runs/: train a net (alexdsl run SPEC), or use --run or --checkpoint")
    run = RunFolder.newest(RUNS) if folder is None else RunFolder.open(folder)
    last = run.last_checkpoint()
    if last is None:
        raise InputError(f"the run {run.path} has no checkpoint yet")
    return last


def _run(args: argparse.Namespace, path: Path) -> int:
    from rich.console import Console

    from alexdsl.cli.run.checks import check_memory
    from alexdsl.cli.show import Show
    from alexdsl.data.prepare import TEN, Preparer
    from alexdsl.program import compile
    from alexdsl.train.checkpoint import read_state, read_statistics
    from alexdsl.train.evaluation import softmax

    state = read_state(path)
    spec = spec_of(path, state)
    assert spec.data is not None
    shape = next(op.attrs["shape"] for op in spec.graph if op.kind == "input" and "shape" in op.attrs)
    files = Files(tuple(images_of(args.images)), tuple(state.classes), shape[1:])
    preparer = Preparer(files, files, spec.data, read_statistics(path), spec.seed)
    if tuple(preparer.shape) != tuple(shape):
        due, made = list(shape), list(preparer.shape)
        raise InputError(f"the data block of {path} prepares images of {made}, and its net takes {due}")
    choice = devices(args, spec.graph.attrs["devices"])
    found: list[dict[str, Any]] = []
    program: Program | None = None
    views = TEN if spec.data.test == "ten_crop" else 1
    size = min(len(files) * views, spec.graph.attrs["batch"])
    spec = spec.with_batch(size)
    check_memory(spec, choice, "the prediction", ["predict"], "a batch of {} would fit: give fewer images")
    with Show(Console(stderr=True)).counting("predicting") as predicted:
        for numbers, images in _batches(preparer, files, max(1, size // views), views, found):
            if program is None:
                program = compile(spec, choice.backend, device=choice.bound)
                load_weights(program, path)
            shares = softmax(program.predict(images)).reshape(len(numbers), views, -1).mean(1)
            for number, row in zip(numbers, shares, strict=True):
                found.append({"image": files.paths[number], "classes": _top(row, state.classes, args.top)})
            predicted(len(found), len(files))
    if program is not None:
        program.close()
    places = {path: number for number, path in enumerate(files.paths)}
    found.sort(key=lambda entry: places[entry["image"]])
    _show(found, args.json)
    return 1 if any("error" in entry for entry in found) else 0


def images_of(words: Sequence[str]) -> Iterator[str]:
    """The files of the command line; in place of a folder those in it and below that are called images. Raises
    InputError where there are none."""
    from alexdsl.data.folder import EXTENSIONS

    for word in words:
        if not Path(word).is_dir():
            yield word
            continue
        found = sorted(path for path in Path(word).rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        if not found:
            raise InputError(f"there are no images in the folder {word} ({', '.join(EXTENSIONS)})")
        yield from map(str, found)


def spec_of(path: Path, state: State) -> Spec:
    """The spec that a checkpoint was trained by, without a look at its data. Raises SpecError, InputError, RunError."""
    spec = trained_spec(path, state)
    # First weights need not be drawn: the checkpoint's take their place.
    ops = [op.with_attrs(init=...) if op.kind == "parameter" else op for op in spec.graph]
    return replace(spec, bound=replace(spec.bound, graph=spec.graph.with_ops(ops)))


def trained_spec(path: Path, state: State) -> Spec:
    """``spec_of`` with first weights."""
    from alexdsl.language import Source, parse
    from alexdsl.language.syntax import Data
    from alexdsl.spec import from_source
    from alexdsl.train.folder import RunFolder

    origin, name = None, f"{state.net}.net"
    facts = path.parent.parent / "run.json"
    if facts.is_file():
        # Files that the spec includes are looked for where the run found them.
        origin = Path(str(RunFolder(facts.parent).facts.get("spec", name)))
        name = str(origin)
    source = Source(name, state.spec)
    overrides = dict(state.overrides)
    block = next((s for s in parse(source).statements if isinstance(s, Data)), None)
    if block is None:
        raise InputError(f"the spec in {path} has no data block, so it does not say how images are prepared")
    if not any(setting.name == "classes" for setting in block.settings):
        overrides.setdefault("data.classes", str(len(state.classes)))
    return from_source(source, origin, overrides, state.seed)


def load_weights(program: Program, path: Path) -> None:
    """Put a checkpoint's weights, and the state that prediction reads, into a program. Raises CheckpointError."""
    from alexdsl.train.checkpoint import restore, restore_kept

    program.home = "predict"
    restore(path, program, with_state=False)
    if len(program.state):
        restore_kept(path, program)


@dataclass(frozen=True)
class Files:
    """The images of the command line as a source; their classes are what is asked for."""

    paths: Sequence[str]
    classes: Sequence[str]
    net_size: tuple[int, int]

    @property
    def labels(self) -> NDArray[np.int64]:
        import numpy as np

        return np.zeros(len(self), np.int64)

    @property
    def size(self) -> tuple[int, int]:
        """Where the data block does not resize, images must have the net's size."""
        return self.net_size

    @property
    def description(self) -> str:
        return f"{len(self):,} images"

    def __len__(self) -> int:
        return len(self.paths)

    def label(self, i: int) -> int:
        return 0

    def read(self, i: int, at_least: int | None = None) -> NDArray[np.uint8]:
        from alexdsl.data.decoding import decode
        from alexdsl.data.errors import DataError

        path = Path(self.paths[i])
        if not path.is_file():
            raise DataError(f"there is no file {path}")
        return decode(path, at_least)

    def name(self, i: int) -> str:
        return self.paths[i]

    def fingerprint(self, chosen: NDArray[np.int64]) -> str:
        return ""


def _batches(
    preparer: Preparer, files: Files, size: int, views: int, failed: list[dict[str, Any]]
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """The numbers of up to ``size`` images and their views, those of one image after another; images that cannot be
    read go to ``failed``."""
    import numpy as np

    from alexdsl.data.errors import DataError
    from alexdsl.data.prepare import Slice

    numbers: list[int] = []
    images = np.empty((size * views, *preparer.shape), np.float32)
    for number in range(len(files)):
        at = len(numbers) * views
        items = np.arange(number * views, (number + 1) * views)
        try:
            preparer.fill(Slice("val", 0, 0, items, views), images[at : at + views])
        except DataError as error:
            failed.append({"image": files.paths[number], "error": str(error)})
            continue
        numbers.append(number)
        if len(numbers) == size:
            yield numbers, images
            numbers = []
    if numbers:
        yield numbers, images[: len(numbers) * views]


def _top(shares: NDArray[np.float64], classes: Sequence[str], count: int) -> list[dict[str, Any]]:
    """The most likely classes, best first; ties go to the first."""
    import numpy as np

    best = np.argsort(-shares, kind="stable")[:count]
    return [
        {"class": classes[i] if i < len(classes) else f"class {i}", "index": int(i), "probability": float(shares[i])}
        for i in best
    ]


def _show(found: Sequence[dict[str, Any]], as_json: bool) -> None:
    for entry in found:
        if "error" in entry:
            print(f"error: {entry['error']}", file=sys.stderr)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for entry in found:
        if "error" not in entry:
            print(entry["image"])
            for guess in entry["classes"]:
                print(f"  {guess['probability']:6.1%}  {guess['class']}")
