"""Expressions of a spec become plain values: numbers, words, texts, lists and calls still to be bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from alexdsl.ir.parameters import Factor
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostics, suggest
from alexdsl.language.span import Span

Value: TypeAlias = Any
"""int, float, Factor (``2x``), Text, str (a word), tuple (a list) or Tree (a call)."""


@dataclass(frozen=True)
class Text:
    """A text in quotation marks, which is no word."""

    value: str


@dataclass(frozen=True)
class Tree:
    """A call as a value, such as ``folder(env("IMAGENET"))``; who asks for it binds it."""

    name: str
    args: tuple[Value, ...]
    named: dict[str, Value]
    span: Span = field(compare=False)


class Unusable(Exception):
    """A value could not be had; why has been said already."""


Lookup: TypeAlias = Callable[[str], Value | None]
"""The value of a name, or none where it is unknown."""


@dataclass
class Evaluator:
    """Evaluates expressions; ``lookup`` knows the names, ``names`` lists them for suggestions."""

    diagnostics: Diagnostics
    lookup: Lookup
    names: Callable[[], Iterable[str]]

    def value(self, expr: s.Expr, words: Iterable[str] = (), *, free: bool = False) -> Value:
        """The value of ``expr``; ``words`` are the names that mean themselves, with ``free`` every unknown name does.

        Raises Unusable once the reason has been reported.
        """
        if isinstance(expr, s.Number):
            return Factor(float(expr.value)) if expr.unit == "x" else expr.value / 100 if expr.unit == "%" else expr.value
        if isinstance(expr, s.String):
            return Text(expr.value)
        if isinstance(expr, s.Name):
            return self._name(expr, tuple(words), free)
        if isinstance(expr, s.List):
            return tuple(self.value(item, words, free=free) for item in expr.items)
        if isinstance(expr, s.Call):
            args = tuple(self.value(a.value, words, free=True) for a in expr.args if a.name is None)
            named = {a.name: self.value(a.value, words, free=True) for a in expr.args if a.name is not None}
            return Tree(expr.name, args, named, expr.span)
        if isinstance(expr, s.Negate):
            return -self._number(expr.operand)
        if isinstance(expr, s.Binary):
            return self._arithmetic(expr)
        self.diagnostics.error(expr.span, "expects a value, not a chain or range")
        raise Unusable

    def _name(self, expr: s.Name, words: tuple[str, ...], free: bool) -> Value:
        if expr.id in words:
            return expr.id
        found = self.lookup(expr.id)
        if found is not None:
            return found
        if free:
            return expr.id
        known = [*words, *self.names()]
        near = suggest(expr.id, known)
        hint = f"did you mean '{near}'?" if near else f"one of: {', '.join(words)}" if words else None
        self.diagnostics.error(expr.span, f"unknown name '{expr.id}'", hint=hint)
        raise Unusable

    def _number(self, expr: s.Expr) -> int | float:
        value = self.value(expr)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.diagnostics.error(expr.span, f"arithmetic needs numbers, and {show(value)} is none")
            raise Unusable
        return value

    def _arithmetic(self, expr: s.Binary) -> int | float:
        left, right = self._number(expr.left), self._number(expr.right)
        try:
            if expr.op == "+":
                return left + right
            if expr.op == "-":
                return left - right
            if expr.op == "*":
                return left * right
            quotient = left / right
            return int(quotient) if quotient == int(quotient) else quotient
        except ZeroDivisionError:
            self.diagnostics.error(expr.span, "division by zero")
        except OverflowError:
            self.diagnostics.error(expr.span, "the number is too large")
        raise Unusable


def show(value: Value) -> str:
    """A value as the user would write it."""
    if isinstance(value, Text):
        return f'"{value.value}"'
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, Tree):
        return f"{value.name}(...)"
    return f"{value:g}" if isinstance(value, float) else str(value)
