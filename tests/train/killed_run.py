"""A program for tests: ``alexdsl run`` that kills itself with SIGKILL at one chosen moment.

``file:N`` is before the N-th operation on files of the run folder; ``half:N`` in the middle of the N-th write of
arrays; ``MODULE:CLASS.METHOD:N`` before the N-th call of a method. N = 0 never comes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


class Moment:
    """Counts what happens, and kills the process when it is time."""

    def __init__(self, number: int) -> None:
        self.number, self.count = number, 0

    def comes(self) -> bool:
        self.count += 1
        return self.count == self.number

    def pass_by(self) -> None:
        if self.comes():
            kill()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def watch_files(folder: str, moment: Moment) -> None:
    """Let every operation on a file of the folder be a moment; one by a folder's handle is a removal in it."""

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS:
            path = os.fsdecode(args[0]) if isinstance(args[0], str | bytes | os.PathLike) else ""
            by_handle = event in ("os.remove", "os.rmdir") and args[-1] != -1
            if by_handle or path == folder or path.startswith(f"{folder}/"):
                moment.pass_by()

    sys.addaudithook(heard)


def watch_writes(moment: Moment) -> None:
    """Let every write of arrays be a moment, at which half of them are on disk."""
    module = import_module("alexdsl.train.checkpoint")
    write: Callable[..., None] = module.save_file

    def halved(arrays: Any, path: Path) -> None:
        write(arrays, path)
        if moment.comes():
            os.truncate(path, path.stat().st_size // 2)
            kill()

    module.save_file = halved


def watch_calls(module: str, name: str, moment: Moment) -> None:
    """Let every call of a method be a moment."""
    *path, last = name.split(".")
    owner = reduce(getattr, path, import_module(module))
    function = getattr(owner, last)

    def counted(*args: Any, **kwargs: Any) -> Any:
        moment.pass_by()
        return function(*args, **kwargs)

    setattr(owner, last, counted)


def main() -> int:
    from alexdsl.cli import main

    where, folder, *words = sys.argv[1:]
    what, _, number = where.rpartition(":")
    moment = Moment(int(number))
    if what == "file":
        watch_files(folder, moment)
    elif what == "half":
        watch_writes(moment)
    else:
        watch_calls(*what.split(":"), moment)
    return main(["run", *words])


if __name__ == "__main__":
    sys.exit(main())
