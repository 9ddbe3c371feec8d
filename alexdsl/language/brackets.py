"""Brackets that do not match: reported, and mended so that the rest of the file can be read."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from alexdsl.language.builder import MAX_DEPTH
from alexdsl.language.diagnostics import Diagnostics
from alexdsl.language.span import Source
from alexdsl.language.words import CLOSERS, OPENERS, Kind, Word

_BLANK = (Kind.NEWLINE, Kind.COMMENT)


@dataclass(frozen=True)
class _Opener:
    """An open bracket, its place among the kept words and how far its line is indented."""

    word: Word
    at: int
    indent: int


def mend_brackets(source: Source, words: list[Word], problems: Diagnostics) -> list[Word]:
    """The words with matching brackets: some may be left out, and closing ones added.

    Where brackets nest so deep that the rest of the compiler should not see them, a SpecError is raised at once.
    """
    return _Mender(source, words, problems).run()


class _Mender:
    def __init__(self, source: Source, words: list[Word], problems: Diagnostics) -> None:
        self.source, self.words, self.problems = source, words, problems
        self.kept: list[Word] = []
        self.open: list[_Opener] = []
        self.partner: dict[int, int] = {}
        """For each closing bracket that was kept, the place of the opening one."""
        self.lines = [0] + [word.end for word in words if word.kind is Kind.NEWLINE]

    def run(self) -> list[Word]:
        for at, word in enumerate(self.words):
            keep = True
            if word.kind in (Kind.NEWLINE, Kind.END):
                self._close_swallowed(word)
            if word.kind is Kind.NEWLINE:
                if self._must_have_closed(at):
                    self._drop_statement(self.open[-1])
            elif word.kind is Kind.END:
                self._end(word)
            elif word.is_mark(*OPENERS):
                self._opening(word)
            elif word.is_mark("}"):
                keep = self._closing_brace(word)
            elif word.is_mark(")", "]"):
                keep = self._closing(word)
            if keep:
                self.kept.append(word)
        return self.kept

    def _error(self, word: Word, message: str, *notes: str, hint: str | None = None) -> None:
        self.problems.error(self.source.span(word.start, word.end), message, *notes, hint=hint)

    def _unclosed(self, word: Word) -> None:
        self._error(word, f"'{word.text}' is never closed", hint=f"add the missing '{OPENERS[word.text]}'")

    def _indent(self, word: Word) -> int:
        line = self.source.text[self.lines[bisect_right(self.lines, word.start) - 1] : word.start]
        return len(line) - len(line.lstrip())

    def _opening(self, word: Word) -> None:
        if word.text == "{" and self.open and self.open[-1].word.text != "{":
            while self.open and self.open[-1].word.text != "{":
                self._insert_closer(word, report=True)
        self.open.append(_Opener(word, len(self.kept), self._indent(word)))
        if len(self.open) > MAX_DEPTH:
            self._error(word, f"brackets and blocks are more than {MAX_DEPTH} levels deep")
            self.problems.raise_if_errors()

    def _insert_closer(self, before: Word, report: bool) -> None:
        opener = self._pop()
        if report:
            self._unclosed(opener)
        self.kept.append(Word(Kind.MARK, OPENERS[opener.text], before.start, before.start))

    def _pop(self) -> Word:
        """Take the innermost open bracket, which the next word to be kept closes."""
        opener = self.open.pop()
        self.partner[len(self.kept)] = opener.at
        return opener.word

    def _closing(self, word: Word) -> bool:
        if self.open and self.open[-1].word.text == CLOSERS[word.text]:
            self._pop()
            return True
        if self.open and self.open[-1].word.text != "{":
            wrong = self.open[-1].word
            note = f"'{wrong.text}' was opened in line {self.source.position(wrong.start)[0]}"
            self._error(word, f"'{wrong.text}' is closed by '{word.text}'", note)
            self._insert_closer(word, report=False)
        else:
            self._error(word, f"'{word.text}' closes nothing")
        return False

    def _closing_brace(self, word: Word) -> bool:
        while self.open and self.open[-1].word.text != "{":
            self._drop_statement(self.open[-1])
        if not self.open:
            self._error(word, "'}' closes nothing")
            return False
        first = not self.source.text[word.start - self._indent(word) - 1 : word.start].strip()
        if first and len(self.open) > 1 and self._indent(word) == self.open[-2].indent < self.open[-1].indent:
            self._insert_closer(word, report=True)
        self._pop()
        return True

    def _must_have_closed(self, newline: int) -> bool:
        """Whether the line after this newline can only be a new statement, although ( or [ is still open."""
        if not self.open or self.open[-1].word.text == "{":
            return False
        after, earlier = newline + 1, newline - 1
        while self.words[after].kind in _BLANK:
            after += 1
        while self.words[earlier].kind in _BLANK:
            earlier -= 1
        following, before = self.words[after], self.words[earlier]
        joined = before.kind is Kind.MARK and before.text not in (")", "]")
        return following.kind is Kind.NAME and not joined and self._indent(following) <= self.open[-1].indent

    def _drop_statement(self, opener: _Opener) -> None:
        """Report an open ( or [ and leave out its line up to here, for it would only bring up more errors."""
        first = opener.at
        while first and self.kept[first - 1].kind is not Kind.NEWLINE and not self.kept[first - 1].is_mark("{", "}"):
            first = min(first - 1, self.partner.get(first - 1, first))
        if not any(self._swallows(word) for word in self.kept[first:]):
            self._unclosed(opener.word)
        del self.kept[first:]
        self.partner = {close: opener for close, opener in self.partner.items() if close < first}
        while self.open and self.open[-1].at >= first:
            self.open.pop()

    def _close_swallowed(self, line_end: Word) -> None:
        """Close the braces whose closing ones a text without an end has swallowed in this line."""
        at = len(self.kept) - 1
        if at < 0 or not self._swallows(self.kept[at]):
            return
        count = self.source.text[self.kept[at].start : line_end.start].count("}")
        while count and self.open:
            if self.open[-1].word.text == "{":
                count -= 1
                self._insert_closer(line_end, report=False)
            else:
                self._drop_statement(self.open[-1])

    def _swallows(self, word: Word) -> bool:
        """Whether a word is a text without an end, which may hold the closing bracket."""
        return word.kind is Kind.STRING and word.text != self.source.text[word.start : word.end]

    def _end(self, end: Word) -> None:
        while self.open:
            if self.open[-1].word.text == "{":
                self._insert_closer(end, report=True)
            else:
                self._drop_statement(self.open[-1])
