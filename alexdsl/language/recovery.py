"""How the parser goes on after a mistake: it leaves out the spoilt statement and reads the rest again."""

from __future__ import annotations

from lark import Token

from alexdsl.language.tokens import CLOSING, OPENING, SETTINGS_TYPES

_ENDS = frozenset({"_NL", "RBRACE", "$END"})


class Outline:
    """The brackets of a list of tokens, in which every bracket matches."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.partner: dict[int, int] = {}
        self.inside: list[int] = []
        """For every token the innermost bracket it stands in, -1 for none."""
        self.settings: set[int] = set()
        """The braces that hold settings."""
        self._read()

    def _read(self) -> None:
        open_brackets = [-1]
        head = [""]
        for at, token in enumerate(self.tokens):
            kind = token.type
            if kind in CLOSING:
                opener = open_brackets.pop()
                self.partner[at], self.partner[opener] = opener, at
                if kind == "RBRACE":
                    head.pop()
            self.inside.append(open_brackets[-1])
            if kind == "_NL":
                head[-1] = ""
            elif not head[-1]:
                head[-1] = kind
            if kind in OPENING:
                if kind == "LBRACE":
                    if head[-1] in SETTINGS_TYPES or open_brackets[-1] in self.settings:
                        self.settings.add(at)
                    head.append("")
                open_brackets.append(at)

    def _separates(self, at: int) -> bool:
        kind = self.tokens[at].type
        return kind == "_NL" or (kind == "COMMA" and self.inside[at] in self.settings)

    def statement(self, at: int) -> tuple[int, int]:
        """The first and last token of the innermost statement or setting around a token."""
        if self.tokens[at].type in _ENDS:
            at = max(at - 1, 0)
        first = last = at
        while first > 0:
            before = first - 1
            if self.tokens[before].type == "LBRACE":
                break
            if self._separates(before) and not self._is_selector_comma(before):
                break
            first = self.partner[before] if self.tokens[before].type in CLOSING else before
        if self.tokens[last].type in OPENING:
            last = self.partner[last]
        while self.tokens[last].type != "$END" and self.tokens[last + 1].type not in _ENDS:
            after = last + 1
            if self._separates(after) and any(self.tokens[n].type == "EQUAL" for n in range(first, after)):
                break
            last = self.partner[after] if self.tokens[after].type in OPENING else after
        return first, last

    def _is_selector_comma(self, comma: int) -> bool:
        """Whether a comma among settings stands after a bare name, and so between two selectors."""
        if self.tokens[comma].type != "COMMA":
            return False
        before = comma - 1
        while self.tokens[before].type in ("NAME", "_DOTS"):
            before -= 1
        return before == self.inside[comma] or self._separates(before)

    def without(self, spoilt: list[int]) -> list[Token]:
        """The tokens without the statements that were spoilt at some of them; the statements of their blocks stay."""
        gone: set[int] = set()
        for at in spoilt:
            if at not in gone:
                gone |= self._spoilt(at)
        return _tidy([token for n, token in enumerate(self.tokens) if n not in gone])

    def _spoilt(self, at: int) -> set[int]:
        first, last = self.statement(at)
        whole = set(range(first, last + 1))
        gone = whole
        brace = next((n for n in range(first, last + 1) if self.tokens[n].type == "LBRACE"), None)
        if brace is not None and brace not in self.settings:
            close = self.partner[brace]
            kept = range(brace + 1, close) if at <= brace else range(first, close + 1)
            gone = whole.difference(kept) or whole
        return gone | {last + 1} if self.tokens[last + 1].type == "COMMA" else gone


def _tidy(tokens: list[Token]) -> list[Token]:
    """The tokens without newlines that separate nothing any more."""
    kept: list[Token] = []
    for token in tokens:
        if token.type in _ENDS and kept and kept[-1].type == "_NL":
            kept.pop()
        if token.type != "_NL" or (kept and kept[-1].type not in ("_NL", "LBRACE", "COMMA")):
            kept.append(token)
    return kept
