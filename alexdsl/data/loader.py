"""Batches by step: prepared ahead by worker processes, the same whatever their number, from any step on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alexdsl.data.errors import DataError, WorkerError
from alexdsl.data.permutation import permutation
from alexdsl.data.pool import Pool
from alexdsl.data.prepare import TEN, Preparer, Slice
from alexdsl.data.ring import Ring
from alexdsl.data.settings import DataSettings
from alexdsl.data.sources import Source
from alexdsl.data.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Batch:
    """Prepared images: float32 [n, channels, height, width], labels int64 [n], numbers in the source int64 [n].

    ``images`` is a view of the loader's memory, valid until the loader's next batch of the same kind is asked for.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]


class Loader:
    """Training batches by step and held-out batches in order.

    Epochs follow each other without a gap: step s takes positions s * batch .. (s + 1) * batch - 1 of the stream of
    epochs, so that a batch may hold the end of one epoch and the beginning of the next, and every image is seen exactly
    once an epoch. Each epoch has its own order, ``permutation(seed, epoch, n)``.

    A context manager; without one, ``close`` ends the workers, and so does the loader's own end or the program's.
    """

    def __init__(
        self,
        train: Source,
        settings: DataSettings,
        statistics: Statistics,
        seed: int,
        *,
        val: Source | None = None,
        workers: int | None = None,
        ahead: int = 2,
        patience: float = 30.0,
    ) -> None:
        """Start ``workers`` processes (none: ``default_workers()``; 0: prepare in this one), ``ahead`` batches ahead.

        ``patience``: seconds that a worker may spend on one image. Raises DataError.
        """
        self.train, self.val, self.settings, self.seed = train, val, settings, seed
        workers = default_workers() if workers is None else workers
        preparer = Preparer(train, val, settings, statistics, seed)
        ahead = ahead if workers else 0
        self._pool: Pool | None = None
        if workers:
            self._pool = Pool(preparer, workers, 2 * (ahead + 1), patience)
            batches = self._pool.batches
        else:
            batches = np.empty((2, settings.batch, *preparer.shape), np.float32)
        self._closed = False
        train_slots, val_slots = range(ahead + 1), range(ahead + 1, 2 * (ahead + 1))
        self._rings = {
            "train": Ring(preparer, self._pool, batches, train_slots),
            "val": Ring(preparer, self._pool, batches, val_slots),
        }

    def batch(self, step: int) -> Batch:
        """The training batch of a step; steps in order are prepared ahead, any other works too. Raises DataError."""
        self._check_open()
        if step < 0:
            raise ValueError("steps count from 0")
        images = self._rings["train"].take(step, self._training_slice)
        items = self._training_items(step)
        return Batch(images, self.train.labels[items], items)

    def prefetch(self, step: int) -> None:
        """Let the workers begin with a step's batch; returns at once. For the time in which the caller compiles."""
        self._check_open()
        self._rings["train"].begin(step, self._training_slice)

    def evaluate_batches(self, views: Literal[1, 10] = 1) -> Iterator[Batch]:
        """The held-out images in order, the last batch smaller where they do not come out even. Raises DataError.

        One view is the centre crop. Ten are the centre and the corners, then the same mirrored: they follow each other
        as ten images with the same label and number.
        """
        self._check_open()
        if self.val is None:
            raise DataError("there are no held-out images; data.val = split(5%) holds some out")
        if views not in (1, TEN):
            raise ValueError(f"views are 1 or {TEN}, not {views}")
        total, size = len(self.val) * views, self.settings.batch
        count = -(-total // size)

        def part(number: int) -> Slice:
            return Slice("val", number, 0, np.arange(number * size, min((number + 1) * size, total)), views)

        ring = self._rings["val"]
        ring.clear()
        for number in range(count):
            self._check_open()
            images = ring.take(number, part, count)
            indices = part(number).items // views
            yield Batch(images, self.val.labels[indices], indices)

    def epoch(self, step: int) -> float:
        """How many epochs have been seen before a step."""
        return step * self.settings.batch / len(self.train)

    def steps(self, epochs: float) -> int:
        """The steps in which that many epochs have been seen, rounded up."""
        return steps_of(epochs, len(self.train), self.settings.batch)

    def close(self) -> None:
        """End the workers. Batches already given stay readable."""
        self._closed = True
        if self._pool is not None:
            self._pool.close()

    def _training_items(self, step: int) -> NDArray[np.int64]:
        size, count = self.settings.batch, len(self.train)
        epochs, positions = np.divmod(np.arange(step * size, (step + 1) * size), count)
        items = np.empty(size, np.int64)
        for epoch in np.unique(epochs):
            items[epochs == epoch] = permutation(self.seed, int(epoch), count, positions[epochs == epoch])
        return items

    def _training_slice(self, step: int) -> Slice:
        return Slice("train", step, 0, self._training_items(step))

    def _check_open(self) -> None:
        if self._pool is not None and self._pool.failure is not None:
            raise WorkerError(self._pool.failure)
        if self._closed:
            raise DataError("the loader has been closed")

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def default_workers() -> int:
    """Half of the processors that this process may use, at most 4; none where there is a single one."""
    processors = len(os.sched_getaffinity(0))
    return min(4, processors // 2)


def steps_of(epochs: float, images: int, batch: int) -> int:
    """The steps in which so many epochs of so many images have been seen, rounded up."""
    return -int(-epochs * images // batch)
