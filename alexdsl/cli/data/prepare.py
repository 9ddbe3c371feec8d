"""``alexdsl data prepare``: a folder, a list file or the ILSVRC archives into shards, gone on with after a kill."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from alexdsl.cli import InputError
from alexdsl.cli.common import bytes_text

if TYPE_CHECKING:
    from alexdsl.data.shards.index import Description
    from alexdsl.data.shards.listing import Listing

PLAIN_SECONDS = 10.0
"""Between two lines where output is no terminal."""
NAMED = 10
"""How many skipped images are named here; all of them are in the set's skipped.jsonl."""


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """SRC is one of
  a folder of class folders, of any depth; where it holds train/ and val/, both are prepared
  a list file, a line per image: PATH LABEL or PATH,LABEL
  a folder with ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, or some of them

examples:
  alexdsl data prepare photos prepared
  alexdsl data prepare ilsvrc /data/ilsvrc-256 --quality 95
  alexdsl data prepare photos prepared               again after a kill: goes on where it was

then, in a spec:  source = shards("prepared"); alexdsl init prepared writes one
"""
    command.add_argument("source", metavar="SRC", type=Path, help="the images; see below")
    command.add_argument("folder", metavar="DST", type=Path, help="the folder to write, new or half prepared")
    size = command.add_mutually_exclusive_group()
    size.add_argument("--side", metavar="N", type=int, default=256, help="pixels of the shorter side (default: 256)")
    size.add_argument("--keep", action="store_true", help="leave every image its size, and JPEG files as they are")
    command.add_argument(
        "--quality", metavar="Q", type=int, default=90, help="of JPEG, where images are encoded anew (default: 90)"
    )
    command.add_argument("--depth", metavar="N", type=int, help="name classes by the first N folders of a path only")
    command.add_argument(
        "--per-shard", metavar="N", type=int, help="images a shard (default: 1000, a 16th of all where they are fewer)"
    )
    command.add_argument("--processes", metavar="N", type=int, help="that work at once (default: one per core)")
    command.add_argument("--strict", action="store_true", help="stop at an image that cannot be used")


def run(args: argparse.Namespace) -> int:
    """Prepare; see ``arguments``."""
    from alexdsl.data.shards.convert import Options
    from alexdsl.data.shards.inputs import listings
    from alexdsl.data.shards.preparation import Preparation, prepare, usual_per_shard

    for name, least, most in (
        ("side", 1, 65_500),
        ("quality", 1, 100),
        ("depth", 1, None),
        ("per_shard", 1, 1_000_000),
        ("processes", 1, 1024),
    ):
        value = getattr(args, name)
        if value is not None and not least <= value <= (most or value):
            bounds = f"from {least} to {most:,}" if most else f"of at least {least}"
            raise InputError(f"--{name.replace('_', '-')} expects a number {bounds}")
    options = Options(None if args.keep else args.side, args.quality)
    print(f"listing {args.source}", flush=True)
    for part, listing in listings(args.source, args.depth):
        folder = args.folder / part
        print(f"{folder}: {len(listing):,} images of {len(listing.classes):,} classes", flush=True)
        per_shard = args.per_shard or usual_per_shard(len(listing))
        how = Preparation(options, per_shard, args.processes, args.strict)
        with Progress(len(listing)) as progress:
            description = prepare(listing, folder, how, progress)
        _report(folder, listing, description)
    print(f'train from it: source = shards("{args.folder}"); a spec that does: alexdsl init {args.folder}')
    return 0


class Progress:
    """Images done of all: a bar on a terminal, now and then a line elsewhere."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        columns = (BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)
        if self._bar.disable and time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            print(f"{done:,} of {total:,} images", file=sys.stderr)

    def say(self, text: str) -> None:
        """A line for the user, above the bar."""
        if self._bar.disable:
            print(text)
        else:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _report(folder: Path, listing: Listing, made: Description) -> None:
    from alexdsl.data.shards.index import SKIPPED

    size = bytes_text(sum(int(shard["size"]) for shard in made.shards))
    shards = f"{len(made.shards):,} shard{'s' * (len(made.shards) > 1)}"
    print(f"  {made.images:,} stored in {shards}, {size}: {made.kept:,} JPEG files as they were, the others encoded")
    if made.notes:
        print(f"  odd, and handled: {counted(made.notes)}")
    if listing.empty:
        names = ", ".join(listing.empty[:NAMED]) + (", ..." if len(listing.empty) > NAMED else "")
        print(f"  {len(listing.empty):,} folders without an image are no classes: {names}")
    if made.ignored:
        print(f"  files that are no images: {counted(made.ignored)}")
    if made.skipped:
        total = sum(made.skipped.values())
        print(f"  {total:,} of {made.found:,} skipped ({counted(made.skipped)}), named in {folder / SKIPPED}")
        with (folder / SKIPPED).open(encoding="utf-8") as lines:
            for _, line in zip(range(NAMED), lines, strict=False):
                print(f"skipped: {json.loads(line)['message']}", file=sys.stderr)
        if total > NAMED:
            print(f"skipped: and {total - NAMED:,} more", file=sys.stderr)


def counted(counts: Mapping[str, int]) -> str:
    """``3 damaged, 1 empty``: the most frequent first."""
    return ", ".join(
        f"{count:,} {what}" for what, count in sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))
    )
