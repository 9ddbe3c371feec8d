"""Standard output that a run can do without: it falls silent where it cannot be written to any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast


def unbroken_output() -> TextIO:
    """Standard output as ``Unbroken``; nowhere if there is none."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
    return cast(TextIO, Unbroken(sys.stdout))


@dataclass(frozen=True)
class Unbroken:
    """A stream that falls silent where it cannot be written to any more, be it that its reader went away."""

    stream: TextIO

    def write(self, text: str) -> None:
        self._try(lambda: self.stream.write(text))

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
