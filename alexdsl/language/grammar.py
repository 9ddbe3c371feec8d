"""The grammar at work: Lark's parser, fed with our tokens, again and again until no mistake is left unseen."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer

from alexdsl.files import cache_folder
from alexdsl.language.diagnostics import Diagnostic, Diagnostics
from alexdsl.language.recovery import Outline
from alexdsl.language.span import Source
from alexdsl.language.tokens import DANGLING
from alexdsl.language.unexpected import Unexpected

_MAX_WORK = 1_000_000
"""Tokens read again and again after mistakes, at most."""


class _NoLexer(Lexer):
    """Stands where Lark wants a lexer; the parser is fed with tokens instead."""

    def __init__(self, conf: Any) -> None:
        del conf

    def lex(self, lexer_state: Any, parser_state: Any) -> Any:
        raise NotImplementedError


@cache
def _lark() -> Lark:
    grammar = files("alexdsl.language").joinpath("net.lark").read_text("utf-8")
    start = ["file", "argument"]
    known: str | bool = False  # to make the parser's tables takes a tenth of what a check takes
    with suppress(OSError):
        known = str(cache_folder("grammar") / "net.lark")
    return Lark(grammar, parser="lalr", lexer=_NoLexer, start=start, propagate_positions=True, cache=known)


def parse_tokens(source: Source, tokens: list[Token], start: str, problems: Diagnostics) -> Tree[Token]:
    """Read the tokens; after a mistake, note it, leave out its statement and read again."""
    tokens = _without_bad(source, tokens, problems)
    work = 0
    while not isinstance(found := _feed(source, tokens, start), Tree):
        at, problem = found
        problems.extend([problem])
        work += len(tokens)
        if start != "file":
            problems.raise_if_errors()
        if work > _MAX_WORK:
            problems.give_up()
        tokens = Outline(tokens).without([at])
    return found


def _without_bad(source: Source, tokens: list[Token], problems: Diagnostics) -> list[Token]:
    """The tokens without the statements that hold a bad one; those that the scan cannot see are reported here."""
    for at, token in enumerate(tokens):
        if token.type == "BAD" and token == DANGLING:
            span = source.span(token.start_pos or 0, token.end_pos or 0)
            due = {"=": "a value", "|": "a step"}.get(tokens[at - 1], "another item")
            problems.error(span, f"the line ends where {due} is due")
    bad = [at for at, token in enumerate(tokens) if token.type == "BAD"]
    return Outline(tokens).without(bad) if bad else tokens


def _feed(source: Source, tokens: list[Token], start: str) -> Tree[Token] | tuple[int, Diagnostic]:
    """The tree, or the token at which the grammar was broken and what to say about it."""
    parser: Any = _lark().parse_interactive(start=start)
    tree: Tree[Token] | None = None
    for at, token in enumerate(tokens):
        try:
            tree = parser.feed_token(token)
        except UnexpectedToken:
            # The token that was refused may already have changed the state: read up to it once more.
            parser = _lark().parse_interactive(start=start)
            for good in tokens[:at]:
                parser.feed_token(good)
            first, _ = Outline(tokens).statement(at)
            return at, Unexpected(source, tokens, at, first, parser.accepts()).explain()
    assert tree is not None
    return tree
