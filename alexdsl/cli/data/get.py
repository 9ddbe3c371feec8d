"""``alexdsl data get``: a published set from its official address, gone on with where it stopped, and checked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alexdsl.cli import InputError

NAMES = ("fashion-mnist", "cifar-10", "imagenette")


def arguments(command: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    command.epilog = """examples:
  alexdsl data get fashion-mnist
  alexdsl data get imagenette /data/imagenette

exit codes: 1 the network failed; start it again to go on
"""
    command.add_argument("name", metavar="NAME", help=", ".join(NAMES))
    command.add_argument("folder", metavar="DIR", type=Path, nargs="?", help="where to put it (default: ./NAME)")


def run(args: argparse.Namespace) -> int:
    """Fetch; see ``arguments``."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from alexdsl.data.download import NetworkError
    from alexdsl.data.published import SETS, get
    from alexdsl.language import suggest

    chosen = SETS.get(args.name)
    if chosen is None:
        near = suggest(args.name, list(SETS))
        hint = f"did you mean '{near}'?" if near else f"there are {', '.join(SETS)}"
        raise InputError(f"there is no set '{args.name}': {hint}")
    folder = args.folder or Path(args.name)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TransferSpeedColumn())
    print(f"{args.name}: {chosen.what}", flush=True)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            tasks = {remote.name: bar.add_task(remote.name, total=None) for remote in chosen.files}
            lines = get(chosen, folder, lambda name, done, all: bar.update(tasks[name], completed=done, total=all))
    except NetworkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("in the spec's data block:")
    for line in lines:
        print(f"    {line}")
    return 0
