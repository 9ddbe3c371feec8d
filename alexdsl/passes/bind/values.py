"""Expressions of a spec become plain values: numbers, words, texts, lists and calls still to be bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import Any, TypeAlias

from alexdsl.ir.parameters import Factor
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostics, suggest
from alexdsl.language.span import Span

Value: TypeAlias = Any
"""int, float, Factor (``2x``), Text, str (a word), tuple (a list), Tree (a call) or Ref (a value of the net)."""


@dataclass(frozen=True)
class Text:
    """A text in quotation marks, which is no word."""

    value: str


@dataclass(frozen=True)
class Ref:
    """A value of the net: the name of the op's result that holds it; ``spoken`` is what the spec calls it."""

    value: str
    spoken: str = field(default="", compare=False)


@dataclass(frozen=True)
class Given:
    """One argument as evaluated, where it stands, and where its name does; BROKEN where it could not be had."""

    value: Value
    span: Span
    name_span: Span | None = None


@dataclass(frozen=True)
class Tree:
    """A call as a value, such as ``folder(env("IMAGENET"))``; who asks for it binds it."""

    name: str
    args: tuple[Given, ...]
    named: Mapping[str, Given]
    span: Span = field(compare=False)


class Broken:
    """In place of a value that could not be had; why has been said."""

    def __repr__(self) -> str:
        return "broken"


BROKEN = Broken()


class Unusable(Exception):
    """A value could not be had; why has been said already."""


Lookup: TypeAlias = Callable[[str], Value | None]
"""The value of a name, or none where it is unknown. Raises Unusable where the value could not be had."""


@dataclass
class Evaluator:
    """Evaluates expressions; ``lookup`` knows the names, ``names`` lists them for suggestions."""

    diagnostics: Diagnostics
    lookup: Lookup
    names: Callable[[], Iterable[str]]

    def value(self, expr: s.Expr, words: Iterable[str] = (), *, free: bool = False, refs: bool = False) -> Value:
        """The value of ``expr``; ``words`` are the names that mean themselves, with ``free`` every unknown name does.

        Values of the net are allowed with ``refs``. Raises Unusable once the reason has been reported.
        """
        if isinstance(expr, s.Number):
            if expr.unit == "x":
                return Factor(float(expr.value))
            return expr.value / 100 if expr.unit == "%" else expr.value
        if isinstance(expr, s.String):
            return Text(expr.value)
        if isinstance(expr, s.Name):
            return self._name(expr, tuple(words), free, refs)
        if isinstance(expr, s.List):
            return tuple(self.value(item, words, free=free) for item in expr.items)
        if isinstance(expr, s.Call):
            return self._call(expr, words)
        if isinstance(expr, s.Negate):
            return -self._number(expr.operand)
        if isinstance(expr, s.Binary):
            return self._arithmetic(expr)
        what = "a range" if isinstance(expr, s.Range) else "a chain"
        self.diagnostics.error(expr.span, f"a number or a word is due here, not {what}")
        raise Unusable

    def _name(self, expr: s.Name, words: tuple[str, ...], free: bool, refs: bool) -> Value:
        if expr.id in words:
            return expr.id
        found = self.lookup(expr.id)
        if isinstance(found, Ref) and not refs:
            self.diagnostics.error(expr.span, f"'{expr.id}' is a value of the net, which is no number or word")
            raise Unusable
        if found is not None:
            return found
        if free:
            return expr.id
        self.unknown(expr, words)
        raise Unusable

    def unknown(self, expr: s.Name, words: Iterable[str] = (), hint: str | None = None) -> None:
        """Report a name that means nothing here."""
        words = tuple(words)
        near = None if hint else suggest(expr.id, [*words, *islice(self.names(), 2000)])
        if near:
            hint = f"did you mean '{near}'?"
        elif hint is None and expr.id.startswith("data."):
            has_data = any(name.startswith("data.") for name in self.names())
            hint = "the data block has no such setting" if has_data else "the spec has no data block"
        elif hint is None and len(words) > 1:
            hint = f"words known here: {', '.join(words)}"
        self.diagnostics.error(expr.span, f"unknown name '{expr.id}'", hint=hint)

    def _call(self, expr: s.Call, words: Iterable[str]) -> Tree:
        args: list[Given] = []
        named: dict[str, Given] = {}
        check_order(expr, self.diagnostics)
        for arg in expr.args:
            given = Given(self.value(arg.value, words, free=True), arg.value.span, arg.name_span)
            if arg.name is None:
                args.append(given)
            else:
                named[arg.name] = given
        return Tree(expr.name, tuple(args), named, expr.span)

    def _number(self, expr: s.Expr) -> int | float:
        value = self.value(expr)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.diagnostics.error(expr.span, f"arithmetic needs numbers, and {show(value)} is none")
            raise Unusable
        return value

    def _arithmetic(self, expr: s.Binary) -> int | float:
        left, right = self._number(expr.left), self._number(expr.right)
        try:
            result = _compute(expr.op, left, right)
            if isfinite(result) and abs(result) < 1e300:
                return result
            self.diagnostics.error(expr.span, "the result is too large a number")
        except ZeroDivisionError:
            self.diagnostics.error(expr.span, "division by zero")
        except OverflowError:
            self.diagnostics.error(expr.span, "the result is too large a number")
        raise Unusable


def _compute(op: s.Operator, left: int | float, right: int | float) -> int | float:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def check_order(call: s.Call, diagnostics: Diagnostics) -> None:
    """Arguments without names stand before those with names, and no name comes twice. Raises Unusable."""
    names: set[str] = set()
    for arg in call.args:
        if arg.name is None and names:
            message = f"an argument of {call.name} without a name stands after named ones"
            diagnostics.error(arg.span, message, hint="name it, or move it to the front")
            raise Unusable
        if arg.name is not None and arg.name in names:
            diagnostics.error(arg.name_span or arg.span, f"{call.name} is given '{arg.name}' twice")
            raise Unusable
        if arg.name is not None:
            names.add(arg.name)


def show(value: Value) -> str:
    """A value as the user would write it."""
    if isinstance(value, Text):
        return f'"{value.value}"'
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, Ref):
        return f"the value '{value.spoken or value.value}'"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, Tree):
        return f"{value.name}(...)"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{value:.3e}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def show_given(given: Given) -> str:
    """A number as written and what it comes to, where that differs; other values as the user would write them."""
    shown, text = show(given.value), " ".join(given.span.text.split())
    if isinstance(given.value, int | float) and 0 < len(text) <= 30:
        try:
            return shown if float(text) == given.value else f"{text} ({shown})"
        except ValueError:
            return f"{text} ({shown})"
    return shown
