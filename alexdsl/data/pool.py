"""The loader's worker processes as the trainer sees them: started, given slices, listened to, watched and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from alexdsl.data import memory
from alexdsl.data.errors import WorkerError
from alexdsl.data.prepare import Preparer, Slice
from alexdsl.data.worker import HEARTBEAT, READY, Reply, Setup, Task, heartbeats, slots

# A plain new interpreter, neither a fork (which dies after an OpenMP kernel) nor multiprocessing's spawn, which imports
# the trainer's main module again, whatever it drags in. Isolated (-I), then given this process's import path.
_COMMAND = (
    "import sys; sys.path[:] = sys.argv[3:]; from alexdsl.data.worker import main; main(*map(int, sys.argv[1:3]))"
)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
Answer: TypeAlias = Callable[[str | None], None]
"""Hears that a task is done, or the message of the error it failed with."""

_LOOK = 0.25  # seconds between looks at workers that say nothing


class Worker:
    """One process, the socket to it and what to do with the answers to the tasks it has been given."""

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.pending: dict[int, Answer] = {}
        self.ready = False
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _COMMAND, str(theirs.fileno()), str(descriptor), *_import_path()],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), descriptor),
                env={**os.environ, **_ONE_THREAD},
                process_group=0,  # the terminal's Ctrl-C then reaches the trainer alone
            )


class Pool:
    """Workers that prepare slices of batches into ``batches``, float32 [slots, batch, channels, height, width]."""

    def __init__(self, preparer: Preparer, workers: int, slot_count: int, patience: float) -> None:
        self.preparer, self.patience = preparer, patience
        self._numbers = count()
        self.failure: str | None = None
        """Why the workers were ended, if they failed."""
        shape = (slot_count, preparer.settings.batch, *preparer.shape)
        packer = memory.Packer(preparer)
        start = memory.aligned(8 * HEARTBEAT * workers)
        span = memory.Span(start + packer.size, int(np.prod(shape)) * 4)
        size = span.start + span.size
        descriptor = memory.create(size)
        self.workers: list[Worker] = []
        try:
            shared = memory.attach(descriptor, size)
            packed = packer.write(shared, start)
            self.batches: NDArray[np.float32] = slots(shared, span, shape)
            self._heartbeats = heartbeats(shared, workers)
            self.close = weakref.finalize(self, _end, self.workers)
            for number in range(workers):
                self.workers.append(Worker(number, descriptor))
            for worker in self.workers:
                self._send(worker, Setup(size, workers, worker.number, packed, span, shape))
        except OSError as error:
            _end(self.workers)
            raise WorkerError(f"the data workers cannot be started: {error}") from None
        except BaseException:
            _end(self.workers)
            raise
        finally:
            os.close(descriptor)

    @property
    def ready(self) -> bool:
        """Whether some worker has started up."""
        return any(worker.ready for worker in self.workers)

    def submit(self, worker: int, slot: int, part: Slice, answer: Answer) -> None:
        """Let a worker prepare a slice into a slot, after what it has to do yet. Raises WorkerError when it is gone."""
        task = Task(next(self._numbers), slot, part)
        self.workers[worker].pending[task.number] = answer
        self._send(self.workers[worker], task)

    def poll(self) -> None:
        """Pass on the answers that are there. Raises WorkerError when a worker is gone."""
        self._receive(0.0)

    def wait(self) -> None:
        """Pass on the next answers. Raises WorkerError when a worker is gone or stuck at an image."""
        before, since = self._heartbeats[:, 0].copy(), [time.monotonic()] * len(self.workers)
        while not self._receive(_LOOK):
            now = time.monotonic()
            for worker in self.workers:
                number = worker.number
                if self._heartbeats[number, 0] != before[number] or not worker.pending:
                    before[number], since[number] = self._heartbeats[number, 0], now
                elif now - since[number] > self.patience:
                    self._fail(f"{self._called(worker)} has been stuck for {self.patience:g} s{self._place(worker)}")

    def _receive(self, timeout: float) -> int:
        received = 0
        by_connection = {worker.connection: worker for worker in self.workers}
        for connection in wait(list(by_connection), timeout):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            try:
                while connection.poll():
                    reply: Reply = connection.recv()
                    received += 1
                    if reply.task == READY:
                        worker.ready = True
                    else:
                        worker.pending.pop(reply.task)(reply.error)
            except (EOFError, OSError):
                self._fail(f"{self._called(worker)} {_ending(worker.process)}{self._place(worker)}")
        return received

    def _send(self, worker: Worker, message: Setup | Task) -> None:
        try:
            worker.connection.send(message)
        except OSError:
            self._fail(f"{self._called(worker)} {_ending(worker.process)}{self._place(worker)}")

    def _called(self, worker: Worker) -> str:
        return f"data worker {worker.number + 1} of {len(self.workers)}"

    def _place(self, worker: Worker) -> str:
        begun, val, image = (int(word) for word in self._heartbeats[worker.number])
        source = self.preparer.val if val else self.preparer.train
        if not worker.ready or source is None:
            return " before it had started up"
        return f", last at {source.name(image)}" if begun else ""

    def _fail(self, message: str) -> None:
        self.failure = message
        self.close()
        raise WorkerError(message)


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:  # killed: they keep nothing, and one that hangs would not heed anything milder
        with contextlib.suppress(OSError):
            worker.process.kill()
    for worker in workers:
        worker.connection.close()
        worker.process.wait()


def _ending(process: subprocess.Popen[bytes]) -> str:
    """How a process whose socket is closed ended."""
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "closed its connection but still runs"
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was killed by {name}" + (" (perhaps out of memory)" if -code == signal.SIGKILL else "")


def _import_path() -> list[str]:
    """This process's import path, absolute: the worker's isolated interpreter has another."""
    return [os.path.abspath(entry) for entry in sys.path]
