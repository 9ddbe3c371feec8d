"""Words that no spec can hold: what is wrong with each, and what may stand in for it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from alexdsl.language.diagnostics import Diagnostics
from alexdsl.language.span import Source, Span
from alexdsl.language.words import Kind, Word

_HINTS = {
    ";": "a statement ends with its line",
    ":": "a value is given with '='",
    "//": "a comment begins with '#'",
    "/*": "a comment begins with '#'",
    "**": "there are no powers",
    "->": "steps are joined with '|'",
    "=>": "steps are joined with '|'",
    "|>": "steps are joined with '|'",
    ">": "steps are joined with '|'",
    "×": "write '*'",
    "–": "write '-'",
    "−": "write '-'",
    "…": "a range has two plain dots: conv1..conv3",
    "...": "a range has two dots: conv1..conv3",
    "‘": 'a text stands in "double quotes"',
    "’": 'a text stands in "double quotes"',
    ".": "a name's parts are joined without blanks: conv1.weight",
}


LONGEST = 200
"""Letters of a name; files are called by them."""


def mend_words(source: Source, words: list[Word], problems: Diagnostics) -> list[Word]:
    """The words, each bad one reported; numbers, texts and names are replaced by good ones, others stay bad."""
    mended = []
    for word in words:
        if word.kind is Kind.BAD:
            word = _mend(source, word, problems)
        elif word.kind is Kind.NAME and len(word.text) > LONGEST:
            problems.error(source.span(word.start, word.end), f"a name has at most {LONGEST} letters")
        mended.append(word)
    return mended


def _mend(source: Source, word: Word, problems: Diagnostics) -> Word:
    text = word.text
    span = source.span(word.start, word.end)
    if text[0] in "\"'“":
        _bad_text(span, problems)
        return replace(word, kind=Kind.STRING, text='""')
    if re.match(r"\.?[0-9]", text):
        message, hint = _bad_number(text)
        problems.error(span, message, hint=hint)
        return replace(word, kind=Kind.NUMBER, text="1")
    if text[0].isalpha() or text[0] == "_":
        message = f"the name '{text}' has letters that a name cannot hold"
        problems.error(span, message, hint="letters a to z, digits and _ are allowed")
        return replace(word, kind=Kind.NAME, text="name")
    if text.isprintable():
        problems.error(span, f"'{text}' means nothing here", hint=_HINTS.get(text))
    else:
        name = unicodedata.name(text[0], "a control character").lower()
        problems.error(span, f"a character that cannot be seen: {name} (U+{ord(text[0]):04X})", hint="delete it")
    return word


def _bad_text(span: Span, problems: Diagnostics) -> None:
    text = span.text
    if text[0] != '"':
        problems.error(span, "this quote does not begin a text", hint='a text stands in "double quotes"')
        return
    if re.fullmatch(r'"(?:[^"\\]|\\.)*', text):
        hint = "add '\"' at its end; a text cannot go on in the next line"
        problems.error(span, "this text is never closed", hint=hint)
        return
    for escape in re.finditer(r"\\.", text):
        if escape[0][1] not in '"\\nt':
            where = span.source.span(span.start + escape.start(), span.start + escape.end())
            hint = 'there are \\" \\\\ \\n \\t; a backslash itself is \\\\'
            problems.error(where, f"'{escape[0]}' means nothing in a text", hint=hint)
            return
    problems.error(span, "this text holds a control character")


def _bad_number(text: str) -> tuple[str, str | None]:
    sides = re.fullmatch(r"([0-9]+(?:[xX][0-9]+)+)", text)
    if sides:
        numbers = re.split("[xX]", text)
        pair = f"[{', '.join(numbers)}]"
        square = len(set(numbers)) == 1
        hint = f"a square is one number, kernel={numbers[0]}; " if square else ""
        return f"'{text}' is not a number", f"{hint}sizes of their own are a list, {pair}"
    if re.fullmatch(r"[0-9]+\.", text):
        return "a number needs a digit after its point", f"write {text}0"
    if re.fullmatch(r"\.[0-9]+.*", text):
        return "a number needs a digit before its point", f"write 0{text}"
    if re.fullmatch(r"[0-9]+(_[0-9]+)+", text):
        return f"'{text}' is not a number", f"write {text.replace('_', '')}"
    return f"'{text}' is neither a number nor a name", "a name begins with a letter, and a number holds only digits"
