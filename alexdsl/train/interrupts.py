"""Ctrl-C and its like: when they stop a run, and when they have to wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP call ``stop``; Ctrl-C once more raises KeyboardInterrupt at once."""
    asked = at_once = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked, at_once
        if asked and number == signal.SIGINT:
            at_once = True
            raise KeyboardInterrupt
        if not asked:
            with suppress(OSError):  # by its file number, as printing may be what was interrupted
                os.write(2, b"stopping after this step; Ctrl-C once more stops without saving it\n")
        asked = True
        stop()

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except RuntimeError:
        if at_once:  # a compiler of kernels that was interrupted says that it failed
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Patience:
    """Lets Ctrl-C wait for the kernel at hand: inside the compiler it would come out as a kernel that fails."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, text: str) -> None:
        """Between two kernels."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds Ctrl-C back until a kernel is done, at the latest until the end."""

        def ask(number: int, frame: FrameType | None) -> None:
            self.asked = True

        previous = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
        self("")
