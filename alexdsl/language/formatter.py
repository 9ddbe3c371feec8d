"""The formatter: one look for every spec, its comments and line breaks kept."""

from __future__ import annotations

from alexdsl.language.alignment import Line, align
from alexdsl.language.span import Source
from alexdsl.language.tokens import CLOSING, OPENING, newline_ends, tokenize
from alexdsl.language.words import Kind, Word, scan

_STEP = 4
_UNARY_AFTER = frozenset(
    {"", "LPAR", "LSQB", "LBRACE", "COMMA", "EQUAL", "VBAR", "PLUS", "MINUS", "STAR", "SLASH", "_REPEAT", "_REPORT"}
)


def format_source(source: Source) -> str:
    """The formatted text of a spec; a SpecError where it cannot be read."""
    from alexdsl.language.parser import parse

    return format_text(parse(source).source.text)


def format_text(text: str) -> str:
    """The formatted form of a text that is known to be without mistakes."""
    lines = _Formatter(text).run()
    align(lines)
    return "".join(f"{line.text()}\n" for line in lines)


class _Formatter:
    """Lays out the words of a text, line by line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = scan(text)
        self.types = {t.start_pos: t.type for t in tokenize(self.words) if t.type not in ("_NL", "$END")}
        self.lines: list[Line] = []
        self.line = Line()
        self.previous: Word | None = None
        """The last word that is no comment and no newline."""
        self.unary = False
        self.brackets: list[tuple[str, int]] = []
        """The open brackets, and how far the lines inside each are indented."""
        self.heads = [""]
        self.settings = [False]
        self.item = ""
        """The types of the tokens of the present statement or setting, outside brackets."""
        self.multiline = self._multiline_blocks()

    def _multiline_blocks(self) -> set[int]:
        """The offsets of the braces, both ways, around more than one line."""
        found: set[int] = set()
        open_braces: list[int] = []
        for at, word in enumerate(self.words):
            if word.is_mark("{"):
                open_braces.append(at)
            elif word.is_mark("}"):
                first = open_braces.pop()
                inside = self.words[first + 1 : at]
                if any(w.kind is Kind.NEWLINE for w in inside) and any(w.kind is not Kind.NEWLINE for w in inside):
                    found |= {self.words[first].start, word.start}
        return found

    def run(self) -> list[Line]:
        newlines = 0
        for at, word in enumerate(self.words):
            if word.kind is Kind.NEWLINE:
                newlines += 1
            elif word.kind is Kind.COMMENT:
                self._comment(at, word, newlines)
                newlines = 0
            else:
                self._break(word, newlines)
                newlines = 0
                if word.kind is not Kind.END and not self._is_idle_comma(at):
                    self._word(word)
        self._end_line()
        while self.lines and not self.lines[-1].code and not self.lines[-1].comment:
            self.lines.pop()
        return self.lines

    # --- lines

    def _end_line(self) -> None:
        if self.line.code or self.line.comment:
            if self.line.run and (self.brackets and self.brackets[-1][0] != "{"):
                self.line.pipe = -1
            self.lines.append(self.line)
        self.line = Line(indent=self._indent())

    def _blank(self) -> None:
        """One blank line, but not at the beginning of the file or of a block."""
        if self.lines and (self.lines[-1].code or self.lines[-1].comment) and not self.lines[-1].code.endswith("{"):
            self.lines.append(Line())

    def _indent(self) -> int:
        return self.brackets[-1][1] if self.brackets else 0

    def _in_parentheses(self) -> bool:
        return bool(self.brackets) and self.brackets[-1][0] != "{"

    def _following(self, at: int) -> Word:
        while self.words[at].kind in (Kind.COMMENT, Kind.NEWLINE):
            at += 1
        return self.words[at]

    def _continues(self, word: Word) -> bool:
        """Whether a word after a line break goes on with the statement above."""
        if self._in_parentheses() or self.previous is None or self.previous.is_mark("{"):
            return False
        return not word.is_mark("}") and word.kind is not Kind.END and not newline_ends(self.previous, word)

    def _comment(self, at: int, word: Word, newlines: int) -> None:
        following = self._following(at)
        text = word.text.rstrip()
        if following.is_mark("{"):
            # A comment between a statement and its block goes above the statement.
            self.lines.append(Line(self.line.indent, comment=text))
            return
        if newlines == 0 and self.line.code:
            start = self.text.rfind("\n", 0, word.start) + 1
            self.line.comment, self.line.comment_column = text, word.start - start
            return
        self._end_line()
        if newlines > 1 and not self._in_parentheses() and not self._continues(following):
            self._blank()
        indent = self._indent() + (_STEP if self._continues(following) else 0)
        self.lines.append(Line(indent, comment=text))

    def _break(self, word: Word, newlines: int) -> None:
        """What stands between the last word and this one: nothing, or the end of a line."""
        forced = word.start in self.multiline and word.is_mark("}")
        after_brace = self.previous is not None and self.previous.is_mark("{") and self.previous.start in self.multiline
        if not (newlines or forced or after_brace or self.line.comment) or word.is_mark("{"):
            return
        if self.previous is not None and self.previous.is_mark("{") and not after_brace:
            return
        continues = self._continues(word)
        self._end_line()
        if continues or self._in_parentheses():
            extra = _STEP if continues else 0
            closes = self._in_parentheses() and word.is_mark(")", "]")
            self.line.indent += -_STEP if closes else extra
            return
        if word.is_mark("}"):
            if self.lines and not self.lines[-1].code and not self.lines[-1].comment:
                self.lines.pop()
            self.line.indent -= _STEP
        else:
            if newlines > 1:
                self._blank()
            self.heads[-1], self.item = "", ""

    # --- words

    def _is_idle_comma(self, at: int) -> bool:
        """Whether a comma separates nothing that a newline or a closing bracket does not separate as well."""
        word, after = self.words[at], self.words[at + 1]
        if not word.is_mark(","):
            return False
        if after.is_mark(")", "]", "}"):
            return True
        if self._in_parentheses() or not self.settings[-1]:
            return False
        return after.kind in (Kind.NEWLINE, Kind.COMMENT) and ("EQUAL" in self.item or "RBRACE" in self.item)

    def _word(self, word: Word) -> None:
        kind = self.types[word.start]
        flat = not self._in_parentheses()
        if self._space_before(word, kind):
            self.line.code += " "
        at = len(self.line.code)
        starts_line = at == 0
        self.line.code += word.text
        if flat:
            self._note(kind, at, starts_line)
        self.unary = kind == "MINUS" and self._previous_type() in _UNARY_AFTER
        if kind in OPENING:
            self._open(word)
        elif kind in CLOSING:
            self._close()
        self.previous = word

    def _previous_type(self) -> str:
        return self.types[self.previous.start] if self.previous is not None else ""

    def _note(self, kind: str, at: int, starts_line: bool) -> None:
        """Keep what the alignment has to know of a word outside brackets."""
        line = self.line
        if not self.heads[-1]:
            self.heads[-1] = kind
            if starts_line:
                line.run = "setting" if self.settings[-1] else {"NAME": "chain", "_CONST": "const"}.get(kind, "")
        if kind == "EQUAL" and line.equal < 0:
            line.equal = at
            if line.run == "chain":
                line.run = "named"
        elif kind == "VBAR" and line.pipe < 0 and line.run in ("chain", "named") and self._previous_type() == "RPAR":
            line.pipe = at
        elif kind in ("LBRACE", "RBRACE", "_REPEAT") or (kind == "COMMA" and self.settings[-1]):
            line.run = ""
        self.item += f" {kind}"
        if kind == "COMMA" and self.settings[-1] and ("EQUAL" in self.item or "RBRACE" in self.item):
            self.item = ""

    def _open(self, word: Word) -> None:
        if word.text == "{":
            base = self._indent()
            self.brackets.append(("{", base + _STEP))
            keyword = self.heads[-1] in ("_DATA", "_DEFAULT", "_SOLVER")
            self.settings.append(self.settings[-1] or keyword)
            self.heads.append("")
            self.item = ""
        else:
            self.brackets.append((word.text, self.line.indent + _STEP))

    def _close(self) -> None:
        bracket, _ = self.brackets.pop()
        if bracket == "{":
            self.settings.pop()
            self.heads.pop()
            self.item = " RBRACE"

    def _space_before(self, word: Word, kind: str) -> bool:
        before = self._previous_type()
        if not self.line.code or self.unary:
            return False
        if before in ("LPAR", "LSQB", "_DOTS") or kind in ("RPAR", "RSQB", "COMMA", "_DOTS"):
            return False
        if kind == "LPAR" and before != "EQUAL":
            return before not in ("NAME", "LABEL")
        if "EQUAL" in (kind, before) and self._in_parentheses():
            return self.settings[-1] or (self.heads[-1] == "_DEF" and len(self.brackets) == self._depth_of_params())
        return True

    def _depth_of_params(self) -> int:
        return len([bracket for bracket, _ in self.brackets if bracket == "{"]) + 1
