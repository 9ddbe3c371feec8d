"""The words of a spec, comments and line ends among them: for recovery after an error, and for the formatter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

KEYWORDS = frozenset(
    {"language", "net", "include", "const", "input", "def", "repeat", "group"}
    | {"default", "place", "solver", "data", "report"}
)
"""Words that are reserved where a statement begins, and only there."""

SETTINGS_KEYWORDS = frozenset({"data", "default", "solver"})
"""Statements whose braces hold settings, which commas may separate."""


class Kind(Enum):
    """What a word is."""

    NAME = "name"
    NUMBER = "number"
    STRING = "text"
    MARK = "mark"
    COMMENT = "comment"
    NEWLINE = "newline"
    BAD = "bad"
    END = "end"


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of the text that is not blank."""

    kind: Kind
    text: str
    start: int
    end: int

    def is_mark(self, *marks: str) -> bool:
        """Whether this is one of some marks."""
        return self.kind is Kind.MARK and self.text in marks


_PATTERN = re.compile(
    r"""
      (?P<blank>[ \t]+)
    | (?P<newline>\n)
    | (?P<comment>\#[^\n]*)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*+(?:\.[A-Za-z0-9_]++)*+(?![^\x00-\xa0]))
    | (?P<number>[0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+(?:%|x(?![A-Za-z0-9_]))?+
        (?![A-Za-z0-9_%]|\.(?!\.)|[^\x00-\xa0]))
    | (?P<string>"(?:[^"\\\x00-\x1f]|\\["\\nt])*")
    | (?P<slashes>\.{3,}|//|/\*|\*\*|\|>|->|=>)
    | (?P<mark>\.\.|[()\[\]{},=|+*/-])
    | (?P<badstring>"(?:[^"\\\n]|\\[^\n])*"?|'[^'\n]*'?|“[^”\n]*”?)
    | (?P<badnumber>\.?[0-9](?:[A-Za-z0-9_%]|\.(?!\.))*)
    | (?P<badname>(?:[A-Za-z_]|[^\W\x00-\x7f])\w*)
    | (?P<bad>.)
    """,
    re.VERBOSE,
)

_KINDS = {
    "newline": Kind.NEWLINE,
    "comment": Kind.COMMENT,
    "name": Kind.NAME,
    "number": Kind.NUMBER,
    "string": Kind.STRING,
    "mark": Kind.MARK,
}


_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def scan(text: str) -> list[Word]:
    """All words of a text in order, the last of kind END."""
    words: list[Word] = []
    at = 0
    while match := _PATTERN.match(text, at):
        group = match.lastgroup or "bad"
        if group == "name" and _label_is_due(words):
            match = _LABEL.match(text, at) or match
        at = match.end()
        if group != "blank":
            words.append(Word(_KINDS.get(group, Kind.BAD), match.group(), match.start(), at))
    words.append(Word(Kind.END, "", len(text), len(text)))
    return words


def _label_is_due(words: list[Word]) -> bool:
    """Whether the next name is that of a net or of data, which may hold hyphens."""
    if not words or words[-1].text not in ("net", "data"):
        return False
    return len(words) == 1 or words[-2].kind is Kind.NEWLINE or words[-2].is_mark("{")


OPENERS = {"(": ")", "[": "]", "{": "}"}
"""The brackets, from the opening one to the closing one."""

CLOSERS = {close: opener for opener, close in OPENERS.items()}
"""The brackets, from the closing one to the opening one."""
