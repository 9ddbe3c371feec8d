"""A small pool of threads that share an op's units; compiled kernels run in it without the GIL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from queue import SimpleQueue
from typing import Any

from alexdsl_cpu.intrinsics import FLUSH, set_float_mode


class Job:
    """Units of one kernel call, taken in runs of ``grain`` by whoever is free."""

    def __init__(self, function: Callable[..., None], args: Sequence[Any], units: int, grain: int) -> None:
        self.function, self.args, self.units, self.grain = function, args, units, grain
        # next() on a count is one step under the GIL: no two workers get the same run.
        self.next = count()

    def work(self, slot: int) -> None:
        function, args, units, grain = self.function, self.args, self.units, self.grain
        while (first := next(self.next) * grain) < units:
            function(first, min(first + grain, units), slot, *args)


class Workers:
    """``threads`` workers, the calling thread among them. Results do not depend on their number."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._jobs: list[SimpleQueue[Job | None]] = [SimpleQueue() for _ in range(threads - 1)]
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._loop, args=(i,), name=f"alexdsl-worker-{i + 1}", daemon=True)
            for i in range(threads - 1)
        ]
        for thread in self._threads:
            thread.start()

    def _loop(self, index: int) -> None:
        set_float_mode(FLUSH)
        jobs = self._jobs[index]
        while (job := jobs.get()) is not None:
            try:
                job.work(index + 1)
                self._done.put(None)
            except BaseException as error:  # handed to the thread that asked
                self._done.put(error)

    def run(self, function: Callable[..., None], args: Sequence[Any], units: int, grain: int) -> None:
        """All units of a kernel call; returns when the last is done, raises what a worker raised."""
        helpers = min(self.threads, -(-units // grain)) - 1
        if helpers <= 0:
            function(0, units, 0, *args)
            return
        job = Job(function, args, units, grain)
        for jobs in self._jobs[:helpers]:
            jobs.put(job)
        try:
            job.work(0)
        finally:
            errors = [self._done.get() for _ in range(helpers)]
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """End the threads."""
        for jobs in self._jobs:
            jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._jobs, self._threads = [], []
        self.threads = 1
