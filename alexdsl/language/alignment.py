"""The columns of formatted lines: `=` and `|` in runs of like statements, and the comments behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass
class Line:
    """One line of formatted text, before and after it is aligned."""

    indent: int = 0
    code: str = ""
    comment: str = ""
    comment_column: int = 0
    """Where the comment stood in the text as it was written."""
    run: str = ""
    """Neighbouring lines of one kind are aligned with one another; "" for none."""
    equal: int = -1
    """Where in the code the `=` stands that is aligned, if any."""
    pipe: int = -1
    """Where in the code the `|` stands that is aligned, if any."""

    @property
    def is_comment(self) -> bool:
        """Whether the line holds nothing but a comment."""
        return bool(self.comment) and not self.code

    def text(self) -> str:
        """The line as it is written out."""
        if not self.code:
            return (" " * self.indent + self.comment).rstrip()
        code = " " * self.indent + self.code
        return f"{code.ljust(self.comment_column)}{self.comment}" if self.comment else code


def align(lines: list[Line]) -> None:
    """Set the columns of all lines."""
    for run in _runs([line for line in lines if not line.is_comment], lambda line: (line.run, line.indent)):
        if run[0].run:
            _align_mark([line for line in run if line.equal >= 0], "equal")
            _align_mark([line for line in run if line.pipe >= 0], "pipe")
    for run in _runs(lines, lambda line: (bool(line.code and line.comment), line.indent)):
        if run[0].code and run[0].comment:
            needed = max(line.indent + len(line.code) for line in run) + 2
            column = max(needed, min(line.comment_column for line in run))
            for line in run:
                line.comment_column = column


def _runs(lines: Iterable[Line], key: Callable[[Line], object]) -> Iterator[list[Line]]:
    """Neighbours of the same key; the lines of each run, one after the other."""
    run: list[Line] = []
    for line in lines:
        if run and key(line) != key(run[-1]):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _align_mark(lines: list[Line], mark: str) -> None:
    """Push the mark of every line to the column of the farthest."""
    column = max((getattr(line, mark) for line in lines), default=0)
    for line in lines:
        at = getattr(line, mark)
        line.code = line.code[:at] + " " * (column - at) + line.code[at:]
        if mark == "equal" and line.pipe >= 0:
            line.pipe += column - at
        setattr(line, mark, column)
