"""The language: from a spec's text to its syntax tree and back."""

from alexdsl.language.diagnostics import Diagnostic, Diagnostics, SpecError, suggest
from alexdsl.language.parser import parse, parse_expression, read_source
from alexdsl.language.printer import unparse
from alexdsl.language.span import NOWHERE, Source, Span

__all__ = [
    "NOWHERE",
    "Diagnostic",
    "Diagnostics",
    "Source",
    "Span",
    "SpecError",
    "parse",
    "parse_expression",
    "read_source",
    "suggest",
    "unparse",
]
