"""A small pool of threads that share the units of launches, or of a Python function that leaves the GIL alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from queue import SimpleQueue
from typing import Any

from alexdsl_cpu.intrinsics import FLUSH, set_float_mode
from alexdsl_cpu.launches import BUSY, FAILED, PATIENCE, Table, shared


class Job:
    """Units of one function's call, taken in runs of ``grain`` by whoever is free."""

    def __init__(self, function: Callable[..., None], args: Sequence[Any], units: int, grain: int) -> None:
        self.function, self.args, self.units, self.grain = function, args, units, grain
        # next() on a count is one step under the GIL: no two workers get the same run.
        self.next = count()

    def work(self, slot: int) -> None:
        function, args, units, grain = self.function, self.args, self.units, self.grain
        while (first := next(self.next) * grain) < units:
            function(first, min(first + grain, units), slot, *args)


class Serving:
    """Launches' units, taken until there are none for a while."""

    def __init__(self, serve: Callable[..., None], args: Sequence[Any]) -> None:
        self.serve, self.args = serve, args

    def work(self, slot: int) -> None:
        self.serve(*self.args, slot, PATIENCE)


class Workers:
    """``threads`` workers, the calling thread among them. Results do not depend on their number.

    ``drive`` and ``serve`` are the compiled loops over the launches of ``table``.
    """

    def __init__(self, threads: int, table: Table, drive: Callable[..., None], serve: Callable[..., None]) -> None:
        self.threads, self._table, self._drive = threads, table, drive
        self._state = shared(threads)
        self._serving = Serving(serve, (self._state, *table.arrays))
        self._jobs: list[SimpleQueue[Job | Serving | None]] = [SimpleQueue() for _ in range(threads - 1)]
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
                if isinstance(job, Job):
                    self._done.put(None)
            except BaseException as error:  # handed to the thread that asked
                self._done.put(error)

    def launch(self, first: int, last: int) -> int | None:
        """The table's launches from ``first`` to ``last``, one after the other; the one that failed, if one did."""
        state = self._state
        try:
            self._drive(state, *self._table.arrays, first, last, self.threads, 0)
            if state[BUSY]:
                # Workers sleep, and some may be about to fall asleep: those come back.
                for jobs in self._jobs:
                    jobs.put(self._serving)
                self._drive(state, *self._table.arrays, first, last, self.threads, 1)
        finally:
            state[BUSY] = 0
        failed, state[FAILED] = int(state[FAILED]), 0
        return failed - 1 if failed else None

    def run(self, function: Callable[..., None], args: Sequence[Any], units: int, grain: int) -> None:
        """All units of a function's call; returns when the last is done, raises what a worker raised."""
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
