"""Trees print to text that reads back the same, and the formatter changes looks only."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from syntax_trees import expressions, files

from alexdsl.language import Source, SpecError, parse, parse_expression, unparse
from alexdsl.language.formatter import format_source
from alexdsl.language.syntax import File

WORDS = """conv1 relu conv group data net default solver repeat def place by over on report language 1 2x 50% 0.5
    = | , ( ) [ ] { } + - * / .. # "a" "a 3x3 1. é @ in"""
LINES = ["\n", "\n", "\n    ", "\t", "\r\n", "# c\n", "x = conv(3) | relu\n", "{ a = 1 }", "a { b = 2 }", "tower(2) {"]
PIECES = st.sampled_from([*WORDS.split(), *LINES])
BLANKS = [" ", "", "\t", "  ", "\n", "\n\n\n", "  # remark\n", "\n  # remark\n", "# remark\n\n# remark\n"]
LAYOUT = st.sampled_from(BLANKS)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(files)
def test_files_read_back(file: File) -> None:
    text = unparse(file)
    assert parse(Source("again.net", text)) == file
    assert format_source(Source("again.net", text)) == text


@given(expressions)
def test_expressions_read_back(expression: Any) -> None:
    assert parse_expression(unparse(expression)) == expression


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(files, st.lists(LAYOUT, min_size=1))
def test_the_formatter_changes_looks_only(file: File, layout: list[str]) -> None:
    text = unparse(file)
    messy = []
    for at, piece in enumerate(_split(text)):
        messy.append(piece)
        if piece in ("(", "[", ",", "|", "=", "{", "}", "\n"):
            messy.append(layout[at % len(layout)])
    source = Source("messy.net", "".join(messy))
    with contextlib.suppress(SpecError):
        before = parse(source)
        formatted = format_source(source)
        assert parse(Source("formatted.net", formatted)) == before
        assert format_source(Source("again.net", formatted)) == formatted
        assert formatted.count("# remark") == source.text.count("# remark")


def _split(text: str) -> list[str]:
    from alexdsl.language.words import scan

    pieces, at = [], 0
    for word in scan(text):
        if word.start > at:
            pieces.append(text[at : word.start])
        pieces.append(word.text)
        at = word.end
    return pieces


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=30).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    source = Source("any.net", text)
    try:
        file = parse(source)
    except SpecError as error:
        refusal = str(error)
        assert refusal.startswith("error: ")
    else:
        assert parse(Source("again.net", unparse(file))) == file
        formatted = format_source(source)
        assert parse(Source("formatted.net", formatted)) == file
        assert format_source(Source("again.net", formatted)) == formatted


@given(st.text())
def test_any_characters_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(SpecError):
        parse(Source("any.net", text))
    with contextlib.suppress(SpecError):
        parse_expression(text)
