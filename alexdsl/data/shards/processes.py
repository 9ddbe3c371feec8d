"""Work in processes of their own: a few tasks ahead of the results, which come in order; all end with this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from alexdsl.data.errors import WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(work: Callable[[Task], Result], tasks: Iterable[Task], count: int | None = None) -> Iterator[Result]:
    """The results of ``work`` for every task, in order; ``count``: processes, as many as this one has cores.

    Twice as many tasks as processes are drawn ahead, so memory does not grow with their number. Raises what ``work``
    raises, and WorkerError where a process dies.
    """
    count = count or len(os.sched_getaffinity(0))
    waiting: deque[Future[Result]] = deque()
    others = set(multiprocessing.active_children())
    finished = False
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) >= 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        finished = True
    except BrokenProcessPool:
        raise WorkerError("a process that worked on images died, perhaps for want of memory; start it again") from None
    finally:
        if not finished:  # a task may take minutes, and files are whole or not there
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the first process's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for tasks for ever: it holds the queue's other end itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
