"""From words to the grammar's tokens: which newlines end a statement, and which names are keywords."""

from __future__ import annotations

from lark import Token

from alexdsl.language.words import KEYWORDS, SETTINGS_KEYWORDS, Kind, Word

MARKS = {
    "(": "LPAR",
    ")": "RPAR",
    "[": "LSQB",
    "]": "RSQB",
    "{": "LBRACE",
    "}": "RBRACE",
    ",": "COMMA",
    "=": "EQUAL",
    "|": "VBAR",
    "+": "PLUS",
    "-": "MINUS",
    "*": "STAR",
    "/": "SLASH",
    "..": "_DOTS",
}
"""The grammar's names for the marks."""

OPENING = frozenset({"LPAR", "LSQB", "LBRACE"})
CLOSING = frozenset({"RPAR", "RSQB", "RBRACE"})
KEYWORD_TYPES = frozenset(f"_{word.upper()}" for word in KEYWORDS)
SETTINGS_TYPES = frozenset(f"_{word.upper()}" for word in SETTINGS_KEYWORDS)
DANGLING = "\n"
"""The text of a BAD token that stands where a line ends too early."""

_PLACE_WORDS = {"by": "_BY", "over": "OVER", "on": "ON"}


def newline_ends(previous: Word | None, following: Word) -> bool:
    """Whether a newline between two words, outside ( ) and [ ], ends a statement or separates settings."""
    if previous is None or previous.is_mark("|", ",", "=", "{"):
        return False
    return not (following.is_mark("|", "{", "}") or following.kind is Kind.END)


def significant(words: list[Word]) -> list[Word]:
    """The words without comments and newlines."""
    return [word for word in words if word.kind not in (Kind.COMMENT, Kind.NEWLINE)]


def tokenize(words: list[Word]) -> list[Token]:
    """The tokens of a file whose brackets match, the last of type $END."""
    return _Tokenizer().run(words)


class _Tokenizer:
    """Walks over the words once, keeping the open brackets and the first word of each open statement."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.brackets: list[str] = []
        self.heads = [""]
        """For each open block, the type of the first token of its present statement; "" where one is due."""
        self.settings = [False]
        """For each open block, whether it holds settings."""

    def run(self, words: list[Word]) -> list[Token]:
        shown = significant(words)
        place = 0
        for word in words:
            if word.kind is Kind.NEWLINE:
                if place and not self._in_parentheses() and self._last() != "_NL":
                    self._newline(word, shown[place - 1], shown[place], shown[min(place + 1, len(shown) - 1)])
            elif word.kind is not Kind.COMMENT:
                self._word(word)
                place += 1
        return self.tokens

    def _newline(self, word: Word, previous: Word, following: Word, second: Word) -> None:
        dangles = self._dangles(previous, following, second)
        if dangles:
            self.tokens.append(Token("BAD", DANGLING, start_pos=previous.end, end_pos=previous.end))
        if dangles or newline_ends(previous, following):
            self._add("_NL", word)
            self.heads[-1] = ""

    def _dangles(self, previous: Word, following: Word, second: Word) -> bool:
        """Whether a line ends in `=`, `|` or `,` although the next one, by its first two words, is a new statement."""
        if not previous.is_mark("=", "|", ",") or (previous.text == "," and self.settings[-1]):
            return False
        if following.kind is not Kind.NAME or (following.text == "repeat" and previous.text == "="):
            return False
        operand = second.kind in (Kind.NAME, Kind.NUMBER, Kind.STRING)
        return second.is_mark("=") or (following.text in KEYWORDS and operand and not self.settings[-1])

    def _last(self) -> str:
        return self.tokens[-1].type if self.tokens else ""

    def _in_parentheses(self) -> bool:
        return bool(self.brackets) and self.brackets[-1] != "{"

    def _add(self, kind: str, word: Word) -> None:
        self.tokens.append(Token(kind, word.text, start_pos=word.start, end_pos=word.end))

    def _word(self, word: Word) -> None:
        if word.kind is Kind.NAME:
            kind = self._name(word)
        elif word.kind is Kind.MARK:
            kind = MARKS[word.text]
        else:
            kind = "$END" if word.kind is Kind.END else word.kind.name
        if not self.heads[-1]:
            self.heads[-1] = kind
        if kind in OPENING:
            self._open(word.text)
        elif kind in CLOSING:
            self._close()
        self._add(kind, word)

    def _open(self, bracket: str) -> None:
        self.brackets.append(bracket)
        if bracket == "{":
            self.settings.append(self.settings[-1] or self.heads[-1] in SETTINGS_TYPES)
            self.heads.append("")

    def _close(self) -> None:
        if self.brackets and self.brackets.pop() == "{":
            self.settings.pop()
            self.heads.pop()

    def _name(self, word: Word) -> str:
        """A keyword's type where it is one, LABEL after `net` and `data`, else NAME."""
        last = self._last()
        if self._in_parentheses():
            return "NAME"
        head = self.heads[-1]
        if not head:
            is_keyword = word.text in KEYWORDS and not self.settings[-1]
            return f"_{word.text.upper()}" if is_keyword else "NAME"
        if last in ("_NET", "_DATA"):
            return "LABEL"
        if word.text == "repeat" and last == "EQUAL" and head == "NAME" and not self.settings[-1]:
            return "_REPEAT"
        if head == "_PLACE" and last == "NAME" and self._place_word_is_due():
            return _PLACE_WORDS.get(word.text, "NAME")
        return "NAME"

    def _place_word_is_due(self) -> bool:
        """Whether `by`, `over` and `on` are keywords here: not after one that stands before the devices."""
        for token in reversed(self.tokens):
            if token.type in ("OVER", "ON"):
                return False
            if token.type == "_PLACE":
                return True
        return False
