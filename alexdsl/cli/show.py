"""Shows a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from alexdsl.cli.common import seconds_text

if TYPE_CHECKING:
    from rich.status import Status

    from alexdsl.train.health import Verdict

PLAIN_SECONDS = 10.0
MEASURING = "measuring the colours of training images"
"""Between two lines where output is no terminal."""


class Show:
    """A listener of the training loop that prints."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.live = self.console.is_terminal
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._steps = self._batch = self._first = 0
        self._since = self._printed = 0.0
        self.first_step_at: float | None = None

    def note(self, text: str) -> None:
        """A line of text."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def working(self, text: str) -> Any:
        """A spinner with a text while something short is done; a plain line elsewhere."""
        if self.live:
            return self.console.status(text)
        self.note(text)
        return _Nothing()

    @contextmanager
    def counting(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """What to call with (done, all) while something goes on that may be long: a text says so; elsewhere than on a
        terminal only where it does last."""
        said = time.monotonic()
        with ExitStack() as stack:
            status: Status | None = None

            def tell(done: int, total: int) -> None:
                nonlocal said, status
                line = f"{text}: {done:,} of {total:,}"
                if self.live:
                    status = status or stack.enter_context(self.console.status(line))
                    status.update(line)
                elif time.monotonic() - said >= PLAIN_SECONDS:
                    said = time.monotonic()
                    self.note(line)

            yield tell

    def started(self, step: int, steps: int, batch: int) -> None:
        self._steps, self._batch, self._first = steps, batch, step
        self._since = self._printed = time.monotonic()
        if self.live:
            columns = (
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(24),
                TextColumn("{task.fields[text]}"),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._task = self._progress.add_task("train", total=steps, completed=step, text="")
            self._progress.start()

    def stepped(self, step: int, metrics: Mapping[str, float], rate: float) -> None:
        now = time.monotonic()
        self.first_step_at = self.first_step_at or now
        speed = (step - self._first) * self._batch / max(now - self._since, 1e-9)
        text = f"{_metrics(metrics)}  {speed:,.1f} images/s"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=step, text=text)
        elif step in (self._first + 1, self._steps) or now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            left = (self._steps - step) * self._batch / speed
            self.note(f"step {step}/{self._steps}  {text}  left {seconds_text(left)}")

    def validating(self, done: int, total: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, text=f"validating {done}/{total}")

    def validated(self, step: int, metrics: Mapping[str, float]) -> None:
        # What validation took is no part of the training speed.
        self.note(f"step {step}  validation: {_metrics(metrics)}")

    def saved(self, path: Path) -> None:
        pass

    def advised(self, step: int, verdict: Verdict) -> None:
        self.note(f"health at step {step}: {verdict}")

    def close(self) -> None:
        """Take the live line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *args: object) -> None: ...


def _metrics(metrics: Mapping[str, float]) -> str:
    return "  ".join(
        f"{name} {value:.4f}" if name == "loss" else f"{name} {value:.1%}" for name, value in metrics.items()
    )
