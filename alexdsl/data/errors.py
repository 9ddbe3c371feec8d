"""What goes wrong with data: files, images, loader workers."""

from __future__ import annotations

from typing import Literal, TypeAlias

Fault: TypeAlias = Literal["empty", "no image", "damaged", "too large", "too long", "unreadable"]
"""Why an image cannot be used; reports count by it."""


class DataError(Exception):
    """Data cannot be had; the message is one clear sentence (or two), for the user."""


class ImageError(DataError):
    """One image cannot be used; ``fault`` is the sort of reason."""

    def __init__(self, message: str, fault: Fault = "damaged") -> None:
        super().__init__(message)
        self.fault = fault


class WorkerError(DataError):
    """A loader worker ended or hangs: no fault of the data, as far as anyone can tell."""
