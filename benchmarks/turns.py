"""Peers in processes of their own taking turns: each is ready once, then runs a turn whenever it is asked."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

TURN = 0.5
"""Seconds that a turn takes at least: what is shorter is done several times."""
PAUSE = 0.25
"""Seconds between two turns, in which the threads of the last one fall asleep."""


def serve(work: Callable[[], object], finish: Callable[[], object] = lambda: None, **facts: Any) -> None:
    """In a peer's process: do ``work`` twice to warm up and tell ``facts``, then do it for every line read, answering
    with its seconds. ``finish`` waits for what ``work`` only began."""
    # What libraries print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def seconds(times: int) -> float:
        start = perf_counter()
        for _ in range(times):
            work()
        finish()
        return (perf_counter() - start) / times

    def answer(what: object) -> None:
        print(json.dumps(what), file=answers, flush=True)

    seconds(1)
    times = math.ceil(TURN / seconds(1))
    answer(facts)
    for _ in sys.stdin:
        answer(seconds(times))


def pinned(cores: Sequence[int], **environment: str) -> Mapping[str, Any]:
    """How ``subprocess`` starts what may use these cores only, and as many threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(len(cores)))
    return {
        "env": {**os.environ, **threads, **environment},
        "preexec_fn": lambda: os.sched_setaffinity(0, cores),
    }


def some_cores(count: int) -> Sequence[int]:
    """The first cores that this process may use. Raises SystemExit where there are fewer."""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < count:
        raise SystemExit(f"{count} cores are asked for, and this process may use {len(found)}")
    return found[:count]


@dataclass(frozen=True)
class Command:
    """A peer that is to be started by ``python -m benchmarks.peers.module *args``, on some cores."""

    name: str
    module: str
    args: Sequence[object]
    cores: Sequence[int]


class Peer:
    """A peer's process, warmed up; ``facts`` is what it told then. Raises RuntimeError where it ended instead."""

    def __init__(self, command: Command) -> None:
        self.name = command.name
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.peers.{command.module}", *map(str, command.args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **pinned(command.cores),
        )
        self.facts: Mapping[str, Any] = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"{self.name} ended with code {self._process.returncode}")
        return json.loads(line)

    def turn(self) -> float:
        """Seconds that the peer's work takes once."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._answer())

    def peak(self) -> int:
        """The most bytes of memory that the process held so far. Not ru_maxrss, which begins with its parent's."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return 1024 * int(found[1])

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()


@contextmanager
def running(commands: Sequence[Command]) -> Iterator[Sequence[Peer]]:
    """The peers, one warmed up after the other; all end with the block."""
    with ExitStack() as stack:
        peers = []
        for command in commands:
            peers.append(Peer(command))
            stack.callback(peers[-1].close)
        yield peers


def interleave(peers: Sequence[Peer], rounds: int) -> dict[str, float]:
    """The median seconds of each peer's work over ``rounds`` rounds, the peers taking turns in each."""
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            sleep(PAUSE)
            times[peer.name].append(peer.turn())
    return {name: median(found) for name, found in times.items()}


def measured(commands: Sequence[Command], rounds: int) -> dict[str, float]:
    """As ``interleave``, of peers that are started for it."""
    with running(commands) as peers:
        return interleave(peers, rounds)
