"""Words the grammar did not expect: what was due, what was found, and what was probably meant."""

from __future__ import annotations

from lark import Token

from alexdsl.language.diagnostics import Diagnostic
from alexdsl.language.span import Source, Span
from alexdsl.language.tokens import KEYWORD_TYPES, MARKS

FORMS = {
    "_LANGUAGE": "language 1",
    "_NET": "net alexnet",
    "_DATA": "data imagenet { batch = 128 }",
    "_DEFAULT": "default conv, linear { bias = 0 }",
    "_INPUT": "input image [3, 227, 227]",
    "_GROUP": "group tower(2) { ... }",
    "_PLACE": "place conv1..conv3 by tower over gpu0, gpu1",
    "_REPORT": "report top1(fc8), top5(fc8)",
    "_SOLVER": "solver sgd { lr = 0.01 }",
    "_CONST": "const width = 64",
    "_DEF": "def block(width, stride = 1) { ... }",
    "_REPEAT": "stage = repeat 3 { ... }",
    "_INCLUDE": 'include "layers.net"',
}
"""How each statement with a keyword is written."""

_MARKS = {kind: mark for mark, kind in MARKS.items()}
_OPERANDS = frozenset({"NAME", "NUMBER", "STRING", "LSQB", "LPAR"})
_OPERATORS = frozenset({"PLUS", "MINUS", "STAR", "SLASH"})
_ENDS = {"_NL": "line", "RBRACE": "block", "$END": "file"}
_NAMED = {
    "NAME": "a name",
    "LABEL": "a name",
    "NUMBER": "a number",
    "STRING": 'a text in "double quotes"',
    "_NL": "the end of the line",
    "$END": "the end of the line",
    "_BY": "'by'",
    "OVER": "'over'",
    "ON": "'on'",
    "_REPEAT": "'repeat'",
}
_FOREIGN = {
    "if": "there are no conditions: two shapes are two defs",
    "for": "rounds are written: repeat 3 { ... }",
    "while": "rounds are written: repeat 3 { ... }",
    "import": 'another file is taken in with: include "layers.net"',
    "let": "a constant is written: const width = 64",
    "var": "a constant is written: const width = 64",
    "layer": "a layer is written: conv1 = conv(96)",
}
"""Words that begin a statement elsewhere."""


class Unexpected:
    """One word that the grammar did not expect, with its statement."""

    def __init__(self, source: Source, tokens: list[Token], at: int, first: int, accepts: set[str]) -> None:
        self.source, self.accepts = source, accepts
        self.token = tokens[at]
        self.kind = self.token.type
        self.previous = tokens[at - 1] if at > 0 else None
        self.before = self.previous.type if self.previous else ""
        self.head = tokens[first].type
        self.is_second = at == first + 1
        self.has_equal = any(token.type == "EQUAL" for token in tokens[first:at])

    def explain(self) -> Diagnostic:
        """What to tell the user."""
        return self._misuse() or self._early_end() or self._two_values() or self._chain() or self._general()

    def _span(self, token: Token) -> Span:
        return self.source.span(token.start_pos or 0, token.end_pos or 0)

    def _say(self, message: str, hint: str | None = None, token: Token | None = None) -> Diagnostic:
        return Diagnostic(message, self._span(token or self.token), (), () if hint is None else (hint,))

    def _form(self) -> str | None:
        return f"it is written: {FORMS[self.head]}" if self.head in FORMS else None

    def _found(self, token: Token) -> str:
        if token.type in ("STRING", "$END"):
            return "a text" if token.type == "STRING" else "nothing"
        return f"'{token}'" if len(token) < 40 else f"'{token[:36]}...'"

    def _misuse(self) -> Diagnostic | None:
        """Mistakes that have a name of their own."""
        previous = self.previous
        if previous is not None and self.before in KEYWORD_TYPES and self.kind in ("EQUAL", "VBAR", "COMMA", "_DOTS"):
            message = f"'{previous}' is a reserved word and cannot name a value"
            return self._say(message, f"choose another name, such as '{previous}_1'", previous)
        if self.is_second and str(previous) in _FOREIGN:
            return self._say(f"'{previous}' begins no statement", _FOREIGN[str(previous)], previous)
        if self.kind == self.before == "EQUAL":
            return self._say("'==' means nothing here", "one '=' gives a value; there are no conditions")
        if self.head == "_INPUT" and "LSQB" in self.accepts:
            return self._say("an input's shape stands in [ ]", self._form())
        if self.head == "_INCLUDE" and self.before == "_INCLUDE" and self.kind == "NAME":
            return self._say('the name of an included file stands in "double quotes"', self._form())
        if self.head == "NAME" and self.kind == "EQUAL" and "_NL" in self.accepts:
            return self._say("left of '=' stands one plain name", "conv1 = conv(96)")
        if self.head == "NAME" and self.kind == "COMMA" and "_NL" in self.accepts:
            return self._say("a statement gives one value", "write one statement a line")
        if self.kind in _OPERATORS and "VBAR" in self.accepts and not self.has_equal and self.head == "NAME":
            return self._say("a statement of its own cannot be arithmetic", "values are added with add(a, b)")
        return None

    def _early_end(self) -> Diagnostic | None:
        if self.kind not in _ENDS or self.previous is None:
            return None
        end = self.previous.end_pos or 0
        same_line = "\n" not in self.source.text[end : self.token.start_pos]
        ended = _ENDS[self.kind] if same_line else "line"
        message = f"the {ended} ends where {self._expected()} is due"
        form = self._form()
        return Diagnostic(message, self.source.span(end, end), hints=(form,) if form else ())

    def _two_values(self) -> Diagnostic | None:
        """Two values side by side."""
        if self.kind not in _OPERANDS or self.previous is None or self.before not in (*_OPERANDS, "RPAR", "RSQB"):
            return None
        left, right = self._found(self.previous), self._found(self.token)
        if self.is_second and "EQUAL" in self.accepts:
            return self._say(f"'=' is missing between {left} and {right}")
        if "COMMA" in self.accepts and self.accepts & {"RPAR", "RSQB"}:
            if self.before == "NAME" and "EQUAL" in self.accepts and self.kind in ("NUMBER", "STRING"):
                return self._say(f"'=' is missing between {left} and {right}", f"{self.previous}={self.token}")
            return self._say(f"',' is missing between {left} and {right}")
        if "VBAR" in self.accepts and self.before in ("RPAR", "NAME") and self.kind == "NAME":
            return self._say(f"'|' is missing between {left} and {right}", "or a new line, for a statement of its own")
        return None

    def _chain(self) -> Diagnostic | None:
        steps = "a step of a chain is a layer or the name of a value"
        if self.before == "VBAR":
            return self._say(f"{steps}, not {self._found(self.token)}")
        if self.kind != "VBAR":
            return None
        if self.previous is None or self.before in ("LBRACE", "_NL"):
            return self._say("nothing stands before '|'", "the first step of a statement has no '|'")
        if self.before == "RBRACE":
            return self._say("a block has no '|' behind it", "a new statement goes on from the block's last value")
        if self.before in ("NUMBER", "STRING", "RSQB", "RPAR"):
            return self._say(f"{steps}, and what stands before this '|' is neither")
        return None

    def _general(self) -> Diagnostic:
        return self._say(f"expected {self._expected()}, found {self._found(self.token)}", self._form())

    def _expected(self) -> str:
        left = set(self.accepts)
        words = []
        if "_GROUP" in left:
            words.append("a statement")
            left -= KEYWORD_TYPES | {"NAME", "_NL", "$END"}
        if {"NUMBER", "STRING"} <= left:
            words.append("a value")
            left -= _OPERANDS | {"MINUS", "_REPEAT"}
        if len(left - _OPERATORS - {"_DOTS"}) > 0:
            left -= _OPERATORS | {"_DOTS"}
        if left & {"_NL", "$END"}:
            left -= {"RBRACE"}
        for kind in sorted(left, key=lambda kind: (kind in _ENDS, kind)):
            word = _NAMED.get(kind) or f"'{_MARKS.get(kind, kind)}'"
            if word not in words:
                words.append(word)
        if not words:
            return "nothing more"
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
