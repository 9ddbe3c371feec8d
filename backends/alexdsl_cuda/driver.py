"""What the runtime asks of the devices that it drives: memory, streams, events, copies and launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from alexdsl.ir.protocol import Array

Address: TypeAlias = int
Stream: TypeAlias = Any
Event: TypeAlias = Any
Prepared: TypeAlias = Any


@dataclass(frozen=True)
class Span:
    """An array argument: ``count`` elements from an address on, of the type that the annotation names (``F1``)."""

    address: Address
    annotation: str
    count: int


Argument: TypeAlias = Span | int | float


class Driver(Protocol):
    """Devices by name (``cuda:0``). Work goes to a stream and is done in its order; nothing here waits but
    ``synchronise``, ``upload`` and ``download``."""

    def allocate(self, device: str, size: int) -> Address:
        """``size`` bytes of zeros on a device. Raises MemoryError."""

    def stream(self, device: str) -> Stream:
        """A stream of a device's."""

    def event(self, device: str) -> Event:
        """An event that a device's streams signal."""

    def prepare(
        self, device: str, kernel: str, source: str, grid: tuple[int, int, int], block: tuple[int, int, int],
        args: Sequence[Argument],
    ) -> Prepared:  # fmt: skip
        """A kernel's launch made ready: compiled once for a device, its arguments packed."""

    def launch(self, stream: Stream, prepared: Prepared) -> None:
        """Run a kernel."""

    def copy(self, stream: Stream, target: tuple[str, Address], source: tuple[str, Address], size: int) -> None:
        """Copy bytes from one place to another, be it on another device."""

    def signal(self, stream: Stream, event: Event) -> None:
        """Set the event once the stream's work so far is done."""

    def wait(self, stream: Stream, event: Event) -> None:
        """Let the stream's further work wait for the event."""

    def synchronise(self, stream: Stream) -> None:
        """Return once the stream's work is done. Raises RuntimeError for what went wrong in it."""

    def elapsed(self, stream: Stream, act: Callable[[], None]) -> float:
        """Seconds that a device takes for what ``act`` gives to the stream; waits for all before and for that."""

    def upload(self, stream: Stream, target: tuple[str, Address], array: Array) -> None:
        """Copy a contiguous array's bytes to a device, in the stream's order; they are there when it returns."""

    def feed(self, stream: Stream, target: tuple[str, Address], array: Array) -> None:
        """As ``upload``, for places that are written to step by step: it may return before the bytes are there."""

    def download(self, stream: Stream, array: Array, source: tuple[str, Address]) -> None:
        """Fill a contiguous array with a device's bytes."""

    def close(self) -> None:
        """Give the memory back."""
