"""Batches under way: each in a slot of memory, cut into slices for the workers, taken in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError
from alexdsl.data.pool import Pool
from alexdsl.data.prepare import Preparer, Slice
from alexdsl.data.worker import prepare

_FEW = 8
"""How many images to prepare between looks at whether a worker has started up."""


@dataclass
class _Work:
    """A batch that is being prepared: its slot, how many slices are still to come and what failed, by place."""

    slot: int
    whole: Slice
    pending: int = 0
    errors: dict[int, str] = field(default_factory=dict)

    def part(self, start: int, end: int) -> Slice:
        """The slice of some of the batch's images."""
        return replace(self.whole, first=start, items=self.whole.items[start:end])


class Ring:
    """Batches by number, prepared ahead in as many slots as there are, by the workers or (no pool) on demand here."""

    def __init__(
        self, preparer: Preparer, pool: Pool | None, batches: NDArray[np.float32], slots: Iterable[int]
    ) -> None:
        self._preparer, self._pool, self._batches, self._slots = preparer, pool, batches, tuple(slots)
        self._works: dict[int, _Work] = {}

    def take(self, number: int, plan: Callable[[int], Slice], end: int | None = None) -> NDArray[np.float32]:
        """The images of a batch, float32 [n, c, h, w]; the ones taken before are no longer valid.

        ``plan`` says what a batch consists of. Batches after it, below ``end``, are begun. Raises DataError when one of
        its images, or a worker, failed.
        """
        self._keep(range(number, number + len(self._slots)))
        if number not in self._works and (self._pool is None or not self._pool.ready):
            self._works[number] = self._prepare_here(number, plan)
        self.begin(number, plan, end)
        work = self._works[number]
        while work.pending and self._pool is not None:
            self._pool.wait()
        if work.errors:
            del self._works[number]
            raise DataError(work.errors[min(work.errors)])
        return self._batches[work.slot, : len(work.whole.items)]

    def begin(self, number: int, plan: Callable[[int], Slice], end: int | None = None) -> None:
        """Let the workers begin with a batch and those after it, as many as there are slots for."""
        if self._pool is None:
            return
        window = range(number, number + len(self._slots))
        self._keep(window)
        for ahead in window[: None if end is None else max(end - number, 0)]:
            if ahead not in self._works:
                work = self._works[ahead] = self._new(ahead, plan)
                self._share(work, 0)

    def clear(self) -> None:
        """Forget every batch: what is taken next is prepared anew."""
        self._keep(range(0))

    def _keep(self, window: range) -> None:
        """Free the slots of all other batches; what workers still write into them has to be waited for."""
        for number in [n for n in self._works if n not in window]:
            while self._works[number].pending and self._pool is not None:
                self._pool.wait()
            del self._works[number]

    def _new(self, number: int, plan: Callable[[int], Slice]) -> _Work:
        taken = {work.slot for work in self._works.values()}
        return _Work(next(slot for slot in self._slots if slot not in taken), plan(number))

    def _prepare_here(self, number: int, plan: Callable[[int], Slice]) -> _Work:
        """Prepare a batch in this process, until a worker has started up and can take over."""
        work = self._new(number, plan)
        size = len(work.whole.items)
        step = size if self._pool is None else _FEW
        for start in range(0, size, step):
            if self._pool is not None:
                self._pool.poll()
                if self._pool.ready:
                    self._share(work, start)
                    break
            part = work.part(start, min(start + step, size))
            out = self._batches[work.slot, start : start + len(part.items)]
            error = prepare(self._preparer, part, out)
            if error is not None:
                work.errors[start] = error
                break
        return work

    def _share(self, work: _Work, start: int) -> None:
        """Give a batch's images from ``start`` on to the workers, a slice to each."""
        assert self._pool is not None
        workers, left = len(self._pool.workers), len(work.whole.items) - start
        for worker in range(workers):
            first, last = start + worker * left // workers, start + (worker + 1) * left // workers
            if first < last:
                work.pending += 1
                self._pool.submit(worker, work.slot, work.part(first, last), self._answer(work, first))

    def _answer(self, work: _Work, first: int) -> Callable[[str | None], None]:
        def answer(error: str | None) -> None:
            work.pending -= 1
            if error is not None:
                work.errors[first] = error

        return answer
