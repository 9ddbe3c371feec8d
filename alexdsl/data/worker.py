"""A loader worker: a process of its own that prepares slices of batches into shared memory until its pipe closes."""

from __future__ import annotations

import signal
import warnings
from dataclasses import dataclass
from mmap import mmap
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from alexdsl.data import memory
from alexdsl.data.errors import DataError
from alexdsl.data.prepare import Preparer, Slice

HEARTBEAT = 3
"""int64 words by which a worker says what it is at: images begun so far, phase (0: train, 1: val), image number."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker: where things lie in the shared memory."""

    size: int
    heartbeats: int
    """How many workers' heartbeats stand at the beginning."""
    number: int
    preparer: memory.Packed
    batches: memory.Span
    shape: tuple[int, int, int, int, int]
    """The batches: float32 [slots, batch, channels, height, width]."""


@dataclass(frozen=True, slots=True)
class Task:
    """Prepare a slice into a slot, from place ``part.first`` of the batch."""

    number: int
    slot: int
    part: Slice


@dataclass(frozen=True, slots=True)
class Reply:
    """A task is done, or failed with a message. READY: the worker has started up."""

    task: int
    error: str | None = None


READY = -1


def main(descriptor: int, memory_descriptor: int) -> None:
    """Serve the process at the other end of a socket until it closes it or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the trainer's to answer; it ends its workers
    warnings.simplefilter("ignore")
    connection = Connection(descriptor)
    try:
        _serve(connection, memory_descriptor)
    except (EOFError, OSError):
        return


def _serve(connection: Connection, descriptor: int) -> None:
    setup: Setup = connection.recv()
    shared = memory.attach(descriptor, setup.size)
    heartbeat = heartbeats(shared, setup.heartbeats)[setup.number]
    batches = slots(shared, setup.batches, setup.shape)
    preparer: Preparer = memory.unpack(setup.preparer, shared)
    connection.send(Reply(READY))
    while True:
        task: Task = connection.recv()
        part = task.part
        out = batches[task.slot, part.first : part.first + len(part.items)]
        connection.send(Reply(task.number, prepare(preparer, part, out, heartbeat)))


def prepare(
    preparer: Preparer, part: Slice, out: NDArray[np.float32], heartbeat: NDArray[np.int64] | None = None
) -> str | None:
    """Prepare a slice; the message of the error if that fails."""
    source = preparer.train if part.phase == "train" else preparer.val
    assert source is not None
    at = np.zeros(HEARTBEAT, np.int64) if heartbeat is None else heartbeat
    at[1] = part.phase == "val"

    def begin(image: int) -> None:
        at[2] = image
        at[0] += 1

    try:
        preparer.fill(part, out, begin)
    except DataError as error:
        return str(error)
    except Exception as error:  # a source of another's making may raise anything; the user still learns which image
        return f"preparing {source.name(int(at[2]))} failed: {type(error).__name__}: {error}"
    return None


def heartbeats(shared: mmap, count: int) -> NDArray[np.int64]:
    """The workers' heartbeats: int64 [count, 3]."""
    return np.frombuffer(shared, np.int64, count * HEARTBEAT).reshape(count, HEARTBEAT)


def slots(shared: mmap, span: memory.Span, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The batches of the ring."""
    return np.frombuffer(shared, np.float32, span.size // 4, span.start).reshape(shape)
