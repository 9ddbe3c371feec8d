"""Memory that loader workers share, without a name: it ends with the last process that holds it, however that ends.

A memfd rather than multiprocessing.shared_memory: that one's segments have names in /dev/shm, which outlive a killed
run, are limited to 64 MB in a common container, and up to Python 3.12 are removed by whichever process ends first.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ALIGNMENT = 4096


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of the shared memory."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A pickled object whose arrays lie in the shared memory."""

    payload: bytes
    buffers: Sequence[Span]


def create(size: int) -> int:
    """A file descriptor of ``size`` bytes of memory, zero until written. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("alexdsl", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:  # has no name either
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def attach(descriptor: int, size: int) -> mmap.mmap:
    """The shared memory behind a descriptor."""
    return mmap.mmap(descriptor, size)


def aligned(size: int) -> int:
    """``size`` rounded up to whole pages."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Packer:
    """Pickles an object, leaving its arrays' bytes to be copied into shared memory."""

    def __init__(self, value: Any) -> None:
        self._buffers: list[memoryview] = []
        self._payload = pickle.dumps(value, protocol=5, buffer_callback=lambda b: self._buffers.append(b.raw()))
        self.size = sum(aligned(buffer.nbytes) for buffer in self._buffers)

    def write(self, memory: mmap.mmap, start: int) -> Packed:
        """Copy the arrays to ``start``; takes ``size`` bytes."""
        spans = []
        for buffer in self._buffers:
            memory[start : start + buffer.nbytes] = buffer
            spans.append(Span(start, buffer.nbytes))
            start += aligned(buffer.nbytes)
        return Packed(self._payload, spans)


def unpack(packed: Packed, memory: mmap.mmap) -> Any:
    """The object; its arrays are views of the shared memory, nothing is copied."""
    view = memoryview(memory)
    return pickle.loads(packed.payload, buffers=[view[s.start : s.start + s.size] for s in packed.buffers])
