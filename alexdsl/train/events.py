"""Metrics as TensorBoard's events, where tensorboardX is installed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = "events"
NOT_WRITTEN = ("step", "val.images", "val.seconds")


def installed() -> bool:
    """Whether events can be written here."""
    return find_spec("tensorboardX") is not None


@contextlib.contextmanager
def events(folder: Path, step: int) -> Iterator[Events | None]:
    """An event file in a run's folder, closed at the end of the block; none where they cannot be written."""
    if not installed():
        yield None
        return
    written = Events(folder, step)
    try:
        yield written
    finally:
        written.close()


class Events:
    """An event file in ``folder/events``. It is written by the caller's thread, so that a full disk is an OSError there
    and stops nothing silently. What an earlier file of the run holds from ``step`` on is void."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._summary, self._proto = summary, event_pb2
        (folder / FOLDER).mkdir(exist_ok=True)
        # The file's name holds the second: a run that goes on within one second needs another.
        number = len(list((folder / FOLDER).iterdir()))
        self._writer = EventsWriter(str(folder / FOLDER / "events"), f".{number}")
        if step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step + 1, session_log=start)

    def add(self, record: Mapping[str, Any]) -> None:
        """A line of the metrics: numbers as ``train/loss`` or ``val/loss``, verdicts as text."""
        step = record["step"]
        if "health" in record:
            text = f"{record['layer']} ({record['place']}): {record['seen']}; what usually helps: {record['helps']}"
            self._write(step, summary=self._summary.text("health", text))
            return
        for name, value in record.items():
            if name not in NOT_WRITTEN:
                part, _, rest = name.rpartition(".")
                self._write(step, summary=self._summary.scalar(f"{part or 'train'}/{rest}", value))

    def flush(self) -> None:
        """Hand what was added to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def _write(self, step: int, **what: Any) -> None:
        self._writer.write_event(self._proto.Event(wall_time=time.time(), step=step, **what))
