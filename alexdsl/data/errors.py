"""What goes wrong with data: files, images, loader workers."""

from __future__ import annotations


class DataError(Exception):
    """Data cannot be had; the message is one clear sentence (or two), for the user."""


class WorkerError(DataError):
    """A loader worker ended or hangs: no fault of the data, as far as anyone can tell."""
