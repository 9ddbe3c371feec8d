"""A storm of kills: LeNet-5 on JPEG files, killed at random moments, and again while it goes on.

``python -m tests.storm --kills 200``. Every run has to go on, and to end bit for bit as the one that nothing happened
to; a checkpoint that is there under its name has to be whole. The same seed draws the same moments.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from safetensors.numpy import load_file

from alexdsl.data.resolve import resolve
from alexdsl.data.settings import DataSettings, Sample
from alexdsl.train.checkpoint import read_state
from tests.train.kills import output_of
from tests.train.runs import assert_same

METHODS = {
    "training": "alexdsl.program:Program.start",
    "decoding": "alexdsl.data.loader:Loader.batch",
    "validating": "alexdsl.program:Program.evaluate",
    "saving": "alexdsl.train.loop:Trainer.save",
}
WHAT = {
    "between two operations on files": "file",
    "half a file": "half",
    "half the arrays": "arrays",
    "half a line of the metrics": "line",
    "a worker": "worker",
    **METHODS,
}
AT_ANY_TIME = "at any time"
KINDS = (AT_ANY_TIME, *WHAT)
IN_A_ROW = 5
"""Kills that one job makes, of as many runs as they need."""
PHOTOS = 240


@dataclass(frozen=True)
class Storm:
    """Where it takes place: the undisturbed run, how often each moment came in it, and its seconds."""

    folder: Path
    settings: dict[str, str]
    counts: dict[str, int]
    seconds: float

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    def kills(self, number: int, count: int, seed: int) -> list[str]:
        """Kill runs so many times. Returns the kinds of moments. Raises AssertionError with the moments so far."""
        chance = random.Random(f"{seed}/{number}")
        found: list[str] = []
        run = 0
        while len(found) < count:
            folder, done, run = self.folder / f"{number}.{run}", [], run + 1
            try:
                while len(found) < count:
                    kind, moment, seconds = self.moment(chance)
                    done.append(f"{moment} {seconds or ''}")
                    if output_of(folder, moment, self.settings, seconds) is not None:
                        break
                    found.append(kind)
                    check_checkpoints(folder)
                else:
                    output_of(folder, "file:0", self.settings)
                assert_same(folder, self.whole)
            except AssertionError as error:
                raise AssertionError(f"killed at {', '.join(done)}; see {folder}: {error}") from error
            shutil.rmtree(folder)
        return found

    def moment(self, chance: random.Random) -> tuple[str, str, float | None]:
        """A kind of moment, the moment for ``killed_run``, and after how many seconds it comes if that is its kind."""
        kind = chance.choice(KINDS)
        if kind == AT_ANY_TIME:
            return kind, "file:0", chance.uniform(0, self.seconds)
        return kind, f"{WHAT[kind]}:{chance.randint(1, self.counts[WHAT[kind]])}", None


def check_checkpoints(folder: Path) -> None:
    """All of a checkpoint is there, or nothing under its name."""
    for path in folder.glob("checkpoints/step-*"):
        assert read_state(path).step == int(path.name.removeprefix("step-"))
        for name in ("weights", "state", "data"):
            load_file(path / f"{name}.safetensors")


def prepare(folder: Path) -> Storm:
    """Write the photographs and do the run that nothing happens to, twice: the first compiles kernels."""
    source = resolve(DataSettings(source=Sample("fashion"), batch=1)).train
    for i in range(PHOTOS):
        path = folder / "photos" / str(source.label(i)) / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.read(i)[:, :, 0]).save(path)
    settings = {"data.source": f'folder("{folder / "photos"}")', "data.val": "split(20%)", "data.batch": "16"}
    moments = ",".join(f"{name}:0" for name in WHAT.values())
    for name in ("first", "whole"):
        began = time.monotonic()
        output = output_of(folder / name, moments, settings)
    assert output is not None
    assert_same(folder / "first", folder / "whole")
    return Storm(folder, settings, json.loads(output.splitlines()[-1]), time.monotonic() - began)


def storm(folder: Path, kills: int, seed: int, jobs: int) -> Counter[str]:
    """Kill runs in a folder; how many kills of each kind were survived. Raises AssertionError."""
    place = prepare(folder)
    counts = [min(IN_A_ROW, kills - first) for first in range(0, kills, IN_A_ROW)]
    with ThreadPoolExecutor(jobs) as pool:
        done = pool.map(lambda number: place.kills(number, counts[number], seed), range(len(counts)))
        return Counter(kind for kinds in done for kind in kinds)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="alexdsl-storm-"))
    began = time.monotonic()
    try:
        found = storm(folder, args.kills, args.seed, args.jobs)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    for kind in KINDS:
        print(f"{found[kind]:5}  {kind}")
    total = sum(found.values())
    print(f"{total} of {args.kills} kills: resumed and bit-equal at the end, {time.monotonic() - began:.0f} s")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
