"""Errors and warnings about a spec: what was wrong, where, and what would help; collected, then raised all at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from alexdsl.language.span import Source, Span

Severity: TypeAlias = Literal["error", "warning"]

_WINDOW = 100
"""Columns of a source line that are shown before it is cut."""


@dataclass(frozen=True)
class Diagnostic:
    """One thing to say about a spec."""

    message: str
    span: Span | None
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    severity: Severity = "error"
    label: str = ""

    def render(self) -> str:
        """The text for the user: message, place, the line with its caret, notes and hints."""
        lines = [f"{self.severity}: {self.message}"]
        gutter = 2
        if self.span is not None:
            span, number = self.span, str(self.span.line)
            gutter = len(number)
            blank = " " * gutter
            shown, caret = _excerpt(span)
            lines += [
                f"{blank}--> {span.source.name}:{span.line}:{span.column}",
                f"{blank} |",
                f"{number} | {shown}".rstrip(),
                f"{blank} | {caret} {self.label}".rstrip(),
            ]
        tails = [*self.notes, *(f"hint: {hint}" for hint in self.hints)]
        for tail in tails:
            first, *rest = tail.split("\n")
            lines.append(f"{' ' * gutter} = {first}")
            lines += [f"{' ' * gutter}   {line}" for line in rest]
        return "\n".join(lines)

    __str__ = render


def _display(character: str) -> str:
    """A character as it may be shown on a terminal."""
    if character == "\t":
        return "    "
    return character if character.isprintable() else "\ufffd"


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _excerpt(span: Span) -> tuple[str, str]:
    """The span's first line as shown and the carets under it; a long line is cut around the span."""
    line = span.source.line_text(span.line)
    first = span.column - 1
    last = span.end_column - 1 if span.end_line == span.line else len(line.rstrip())
    last = max(last, first + 1)
    head, tail = 0, len(line)
    if tail > _WINDOW:
        head = max(0, min(first - _WINDOW // 3, tail - _WINDOW))
        tail = min(tail, head + _WINDOW)
    before = ("..." if head else "") + "".join(map(_display, line[head:first]))
    marked = "".join(map(_display, line[first : min(last, tail)])) or " "
    after = "".join(map(_display, line[last:tail])) + ("..." if tail < len(line) else "")
    return before + marked + after, " " * _width(before) + "^" * max(1, _width(marked))


class SpecError(Exception):
    """Everything that is wrong with a spec, or with `more` the first part of it; its text is what the user reads."""

    def __init__(self, diagnostics: Iterable[Diagnostic], more: bool = False) -> None:
        self.diagnostics: list[Diagnostic] = in_order(diagnostics)
        self.more = more
        super().__init__(self.diagnostics, more)

    def __str__(self) -> str:
        text = render_all(self.diagnostics)
        return f"{text}, and there may be more" if self.more else text


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Diagnostics without repetitions, by place: sources as they first come up, those without a place last."""
    unique = list(dict.fromkeys(diagnostics))
    sources: dict[Source, int] = {}
    for diagnostic in unique:
        if diagnostic.span is not None:
            sources.setdefault(diagnostic.span.source, len(sources))

    def key(diagnostic: Diagnostic) -> tuple[int, int]:
        span = diagnostic.span
        return (len(sources), 0) if span is None else (sources[span.source], span.start)

    return sorted(unique, key=key)


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """Diagnostics one below the other, and their count where there are several."""
    shown = list(diagnostics)
    blocks = [diagnostic.render() for diagnostic in shown]
    if len(shown) > 1:
        counts = [(sum(d.severity == kind for d in shown), kind) for kind in ("error", "warning")]
        blocks.append(", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for n, kind in counts if n))
    return "\n\n".join(blocks)


class Diagnostics:
    """Collects what is said about a spec, to raise all of it at once, or at the latest when the limit is reached."""

    def __init__(self, limit: int | None = None) -> None:
        self._all: list[Diagnostic] = []
        self._left = limit

    def error(self, span: Span | None, message: str, *notes: str, hint: str | None = None, label: str = "") -> None:
        """Note a mistake."""
        self._add(Diagnostic(message, span, notes, () if hint is None else (hint,), "error", label))

    def warning(self, span: Span | None, message: str, *notes: str, hint: str | None = None, label: str = "") -> None:
        """Note something that is allowed but hardly meant."""
        self._add(Diagnostic(message, span, notes, () if hint is None else (hint,), "warning", label))

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Take over what was collected elsewhere."""
        for diagnostic in diagnostics:
            self._add(diagnostic)

    def give_up(self) -> NoReturn:
        """Raise what was collected, and say that it need not be all."""
        raise SpecError(self.errors, more=True)

    @property
    def errors(self) -> list[Diagnostic]:
        """The mistakes, in the order of the text."""
        return in_order(d for d in self._all if d.severity == "error")

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings, in the order of the text."""
        return in_order(d for d in self._all if d.severity == "warning")

    def raise_if_errors(self) -> None:
        """Raise every mistake collected so far as one SpecError."""
        if errors := self.errors:
            raise SpecError(errors)

    def _add(self, diagnostic: Diagnostic) -> None:
        self._all.append(diagnostic)
        if self._left is not None and diagnostic.severity == "error":
            self._left -= 1
            if self._left <= 0:
                self.give_up()


def suggest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was most likely meant by a misspelt word, for "did you mean"; None where none is near."""
    from difflib import get_close_matches

    lowered: dict[str, str] = {}
    for choice in choices:
        lowered.setdefault(choice.lower(), choice)
    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else None
