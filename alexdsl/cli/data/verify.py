"""``alexdsl data verify``: corrupt, changed, duplicate and misnamed images of a prepared set or a folder, by name."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from alexdsl.cli.data.prepare import Progress, counted


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """what it finds:
  unusable    cannot be read or decoded: empty, truncated, damaged, no image
  changed     of a prepared set: no longer the bytes that were stored
  duplicate   the same pixels as another image; says whether in another class, or in training and held-out images
  misnamed    the file's name begins with the name of another class

examples:
  alexdsl data verify prepared
  alexdsl data verify photos

exit codes: 0 nothing found, 1 something found
"""
    command.add_argument("path", metavar="PATH", type=Path, help="a prepared set, or anything that can be prepared")
    command.add_argument("--depth", metavar="N", type=int, help="name classes by the first N folders of a path only")
    command.add_argument("--processes", metavar="N", type=int, help="that work at once (default: one per core)")


def run(args: argparse.Namespace) -> int:
    """Look over; see ``arguments``."""
    from alexdsl.data.shards.verify import open_parts, verify

    parts = open_parts(args.path, args.depth)
    found: Counter[str] = Counter()
    total = sum(len(part.images) for part in parts)
    with Progress(total) as progress:
        for finding in verify(parts, args.processes, progress):
            found[finding.what] += 1
            progress.say(f"{finding.what}: {finding.message}")
    print(f"{total:,} images of {len(parts[0].classes):,} classes: {counted(found) or 'nothing found'}")
    return 1 if found else 0
