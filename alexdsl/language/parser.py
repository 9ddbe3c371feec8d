"""From text to the syntax tree; all mistakes of a file are reported at once."""

from __future__ import annotations

import os
from pathlib import Path

from alexdsl.language.diagnostics import Diagnostic, SpecError
from alexdsl.language.span import Source, Span
from alexdsl.language.syntax import Expr, File
from alexdsl.language.words import Kind, scan

MAX_BYTES = 1_000_000
"""The largest file that is read."""


def parse(source: Source) -> File:
    """The syntax tree of a spec; a SpecError with everything that is wrong in it."""
    from alexdsl.language.brackets import mend_brackets
    from alexdsl.language.builder import Builder
    from alexdsl.language.grammar import parse_tokens
    from alexdsl.language.lexical import mend_words
    from alexdsl.language.tokens import tokenize

    _check_size(source, len(source.text.encode("utf-8", "surrogatepass")))
    builder = Builder(source)
    problems = builder.problems
    words = mend_words(source, scan(source.text), problems)
    words = mend_brackets(source, words, problems)
    tree = parse_tokens(source, tokenize(words), "file", problems)
    file = builder.build(tree)
    problems.raise_if_errors()
    return file


def parse_expression(text: str, name: str = "--set") -> Expr:
    """The value that stands alone in a text, such as one given on the command line."""
    from alexdsl.language.brackets import mend_brackets
    from alexdsl.language.builder import Builder
    from alexdsl.language.grammar import parse_tokens
    from alexdsl.language.lexical import mend_words
    from alexdsl.language.tokens import tokenize

    source = Source(name, text)
    _check_size(source, len(text))
    builder = Builder(source)
    words = [word for word in scan(source.text) if word.kind not in (Kind.NEWLINE, Kind.COMMENT)]
    words = mend_brackets(source, mend_words(source, words, builder.problems), builder.problems)
    builder.problems.raise_if_errors()
    tokens = tokenize(words)
    for token in tokens:
        if token.type.startswith("_") and token.type != "_DOTS":
            token.type = "NAME"
    tree = parse_tokens(source, tokens, "argument", builder.problems)
    builder.problems.raise_if_errors()
    value = builder.expression(tree.children[0])
    builder.problems.raise_if_errors()
    return value


def read_source(path: Path, name: str | None = None, span: Span | None = None) -> Source:
    """The text of a file, by the name the user knows it by; `span` is where the file was asked for."""
    shown = name or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)  # of a device, no size is known
            _check_size(Source(shown, ""), max(len(raw), os.fstat(file.fileno()).st_size), span)
        return Source(shown, raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        message = f"{shown} is not text in UTF-8"
        raise SpecError([Diagnostic(message, span, (f"line {line} holds a byte that belongs to no letter",))]) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError([Diagnostic(f"{shown} cannot be read: {reason}", span)]) from None


def _check_size(source: Source, size: int, span: Span | None = None) -> None:
    if size > MAX_BYTES:
        message = f"{source.name} is too large for a spec: {size:,} bytes, where {MAX_BYTES:,} are allowed"
        raise SpecError([Diagnostic(message, span)])
