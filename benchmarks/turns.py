"""Peers in processes of their own taking turns: each is ready once, then runs a turn whenever it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter


def serve(turn: Callable[[], None]) -> None:
    """In a peer's process: run ``turn`` once to warm up, then once for every line read, answering with its seconds."""
    turn()
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        start = perf_counter()
        turn()
        print(json.dumps(perf_counter() - start), flush=True)


class Peer:
    """A peer's process, started by ``python -m module *args``, on as many cores as ``cores`` says."""

    def __init__(self, name: str, module: str, args: Sequence[str], cores: Sequence[int]) -> None:
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "MKL_NUM_THREADS": str(len(cores))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self._answer()

    def _answer(self) -> float | str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self.process.wait()}")
        found: float | str = json.loads(line)
        return found

    def turn(self) -> float:
        """Seconds of one turn."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._answer()
        assert isinstance(answer, float)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def interleave(peers: Sequence[Peer], rounds: int) -> dict[str, float]:
    """The median seconds of each peer's turn over ``rounds`` rounds, the peers taking turns in each."""
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            times[peer.name].append(peer.turn())
    return {name: median(found) for name, found in times.items()}
