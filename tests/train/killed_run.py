"""A program for tests: ``alexdsl run`` that is killed with SIGKILL at one chosen moment.

Moments are given with commas between them; N = 0 never comes, and at the end the run says how often each could have.
``file:N`` is before the N-th operation on files of the run folder; ``half:N`` at the N-th file that is forced to disk,
and half of it is missing; ``arrays:N`` in the middle of the N-th write of arrays; ``line:N`` in the middle of the N-th
line of the metrics; ``worker:N`` kills a worker that decodes, when the N-th batch is asked for;
``MODULE:CLASS.METHOD:N`` is before the N-th call of a method.

A process that is killed leaves to the system what it has written. So what may be found afterwards changes with nothing
but names that come and go, which is ``file``, and files that grow, which is ``half``, ``arrays`` and ``line``.
"""

from __future__ import annotations

import json
import os
import signal
import stat
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


def watch_halves(moment: Moment) -> None:
    """Let every forcing of a file to disk be a moment, at which half of it is there."""
    sync = os.fsync

    def halved(handle: int) -> None:
        about = os.fstat(handle)
        if stat.S_ISREG(about.st_mode) and moment.comes():
            os.truncate(f"/proc/self/fd/{handle}", about.st_size // 2)
            kill()
        sync(handle)

    os.fsync = halved


def watch_arrays(moment: Moment) -> None:
    """Let every write of arrays be a moment, at which half of them are on disk."""
    module = import_module("alexdsl.train.checkpoint")
    write: Callable[..., None] = module.save_file

    def halved(arrays: Any, path: Path, *more: Any) -> None:
        write(arrays, path, *more)
        if moment.comes():
            os.truncate(path, path.stat().st_size // 2)
            kill()

    module.save_file = halved


def watch_lines(moment: Moment) -> None:
    """Let every line of the metrics be a moment, at which half of it is on disk."""
    folder = import_module("alexdsl.train.folder").RunFolder
    log = folder.log

    def halved(self: Any, record: Any) -> None:
        log(self, record)
        if moment.comes():
            metrics = self.path / "metrics.jsonl"
            os.truncate(metrics, metrics.stat().st_size - len(json.dumps(record)) // 2)
            kill()

    folder.log = halved


def watch_workers(moment: Moment) -> None:
    """Let every batch be a moment, at which a worker is killed in place of the run."""
    loader = import_module("alexdsl.data.loader").Loader
    batch = loader.batch

    def orphaned(self: Any, step: int) -> Any:
        if moment.comes():
            self._pool.workers[-1].process.kill()
        return batch(self, step)

    loader.batch = orphaned


def watch_calls(module: str, name: str, moment: Moment) -> None:
    """Let every call of a method be a moment."""
    *path, last = name.split(".")
    owner = reduce(getattr, path, import_module(module))
    function = getattr(owner, last)

    def counted(*args: Any, **kwargs: Any) -> Any:
        moment.pass_by()
        return function(*args, **kwargs)

    setattr(owner, last, counted)


WATCH = {"half": watch_halves, "arrays": watch_arrays, "line": watch_lines, "worker": watch_workers}


def main() -> int:
    from alexdsl.cli import main

    where, folder, *words = sys.argv[1:]
    moments = {}
    for one in where.split(","):
        what, _, number = one.rpartition(":")
        moment = moments[what] = Moment(int(number))
        if what == "file":
            watch_files(folder, moment)
        elif what in WATCH:
            WATCH[what](moment)
        else:
            watch_calls(*what.split(":"), moment)
    code = main(["run", *words])
    print(json.dumps({what: moment.count for what, moment in moments.items()}))
    return code


if __name__ == "__main__":
    sys.exit(main())
