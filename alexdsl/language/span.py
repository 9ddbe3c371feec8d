"""Where a piece of a spec stands in its text: a source and two offsets."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import PurePath


@dataclass(frozen=True)
class Source:
    """A text and the name by which the user knows it; a leading BOM is dropped and line ends become a plain newline."""

    name: str
    text: str = field(repr=False)
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = self.text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        starts = [0]
        while (newline := text.find("\n", starts[-1])) >= 0:
            starts.append(newline + 1)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "_starts", tuple(starts))

    @property
    def lines(self) -> int:
        """The number of lines; a text that ends in a newline has an empty last one."""
        return len(self._starts)

    def position(self, offset: int) -> tuple[int, int]:
        """The line and column of an offset, both counted from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """One line's text, counted from 1, without its newline."""
        end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        return self.text[self._starts[line - 1] : end]

    def span(self, start: int, end: int) -> Span:
        """The span of this source from one offset up to another."""
        return Span(self, start, end)


@dataclass(frozen=True)
class Span:
    """The characters from `start` up to, not with, `end` of a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """The line of the first character, from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """The column of the first character, from 1."""
        return self.source.position(self.start)[1]

    @property
    def end_line(self) -> int:
        """The line on which the span ends, from 1."""
        return self.source.position(self.end)[0]

    @property
    def end_column(self) -> int:
        """The column after the last character, from 1."""
        return self.source.position(self.end)[1]

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of another."""
        return Span(self.source, self.start, other.end)

    def __str__(self) -> str:
        return f"{PurePath(self.source.name).name}:{self.line}:{self.column}"


NOWHERE = Span(Source("", ""), 0, 0)
"""The span of a node that no text holds."""
