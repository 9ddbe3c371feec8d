"""Devices that are only imagined: their memory is the host's, and work is done at once, in the order given."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from alexdsl.ir.protocol import Array
from alexdsl_cuda.driver import Address, Event, Stream

ALIGN = 256
"""What a device's allocations are multiples of."""


@dataclass(frozen=True)
class Done:
    """A stream or event of a device on which everything is done already."""

    device: str


class MemoryDriver:
    """All of a driver but its kernels; see ``alexdsl_cuda.driver.Driver``."""

    def __init__(self) -> None:
        self._held: list[Array] = []

    def allocate(self, device: str, size: int) -> Address:
        raw = np.zeros(size + ALIGN, np.uint8)
        self._held.append(raw)
        address: int = raw.ctypes.data
        return address + -address % ALIGN

    def stream(self, device: str) -> Stream:
        return Done(device)

    def event(self, device: str) -> Event:
        return Done(device)

    def copy(self, stream: Stream, target: tuple[str, Address], source: tuple[str, Address], size: int) -> None:
        ctypes.memmove(target[1], source[1], size)

    def signal(self, stream: Stream, event: Event) -> None:
        """Nothing is left to wait for."""

    def wait(self, stream: Stream, event: Event) -> None:
        """Nothing is left to wait for."""

    def synchronise(self, stream: Stream) -> None:
        """Nothing is left to wait for."""

    def elapsed(self, stream: Stream, act: Callable[[], None]) -> float:
        begun = perf_counter()
        act()
        return perf_counter() - begun

    def upload(self, stream: Stream, target: tuple[str, Address], array: Array) -> None:
        ctypes.memmove(target[1], array.ctypes.data, array.nbytes)

    def feed(self, stream: Stream, target: tuple[str, Address], array: Array) -> None:
        self.upload(stream, target, array)

    def download(self, stream: Stream, array: Array, source: tuple[str, Address]) -> None:
        ctypes.memmove(array.ctypes.data, source[1], array.nbytes)

    def close(self) -> None:
        self._held.clear()
