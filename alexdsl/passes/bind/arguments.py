"""Binds the arguments of any kind (layer, initialiser, schedule, solver) to its parameters: the one place that does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alexdsl.ir.graph import Attr
from alexdsl.ir.parameters import REQUIRED, CallValue, Init, Mismatch, Optional, Parameter
from alexdsl.ir.protocol import Initialiser
from alexdsl.language.diagnostics import Diagnostics, suggest
from alexdsl.language.span import Span
from alexdsl.passes.bind.values import BROKEN, Given, Text, Tree, Unusable, Value, show_given

__all__ = ["Arguments", "Given", "takes_initialiser"]


@dataclass
class Arguments:
    """Checks arguments against parameters; mistakes go to ``diagnostics``."""

    diagnostics: Diagnostics
    initialisers: Mapping[str, Initialiser]

    def bind(
        self,
        kind: str,
        parameters: Sequence[Parameter],
        given: Mapping[str, Given],
        defaults: Mapping[str, Given],
        span: Span,
        extra: Sequence[str] = (),
    ) -> dict[str, Attr]:
        """The attribute of each parameter: the argument, else the default in force, else the declared one.

        ``extra`` are names that the caller handles itself. Raises Unusable when something did not fit.
        """
        known = {p.name: p for p in parameters}
        # A misspelt argument counts as given: that it is missing needs no second message.
        meant = {
            self.unknown(kind, name, [*known, *extra], argument.name_span or argument.span)
            for name, argument in given.items()
            if name not in known and name not in extra
        }
        failed = bool(meant)
        attrs: dict[str, Attr] = {}
        for parameter in parameters:
            argument = given.get(parameter.name) or defaults.get(parameter.name)
            if argument is not None:
                try:
                    attrs[parameter.name] = self.accept(parameter, argument, kind)
                except Unusable:
                    failed = True
            elif parameter.default is not REQUIRED:
                attrs[parameter.name] = self._declared(parameter)
            elif parameter.name not in meant:
                failed = True
                doc = f" ({parameter.doc})" if parameter.doc else ""
                self.diagnostics.error(
                    span, f"{kind} needs '{parameter.name}'{doc}", hint=f"{parameter.name} is {parameter.type}"
                )
        if failed:
            raise Unusable
        return attrs

    def _declared(self, parameter: Parameter) -> Attr:
        """The declared default; of an initialiser with all of its arguments."""
        value = parameter.default
        if not takes_initialiser(parameter) or value is None:
            return value
        rule = self.initialisers[value["kind"]]
        return {"kind": rule.name, **{p.name: p.default for p in rule.parameters}, **value}

    def accept(self, parameter: Parameter, argument: Given, kind: str) -> Attr:
        """One argument as an attribute. Raises Unusable."""
        value = argument.value
        if value is BROKEN:
            raise Unusable
        if takes_initialiser(parameter):
            value = self._initialiser(value, argument.span)
        try:
            return parameter.type.accept(value)
        except Mismatch as error:
            word = value.value if isinstance(value, Text) else value
            near = suggest(word, parameter.type.words) if isinstance(word, str) else None
            hint = f"did you mean '{near}'?" if near else None
            if isinstance(value, Text) and value.value in parameter.type.words:
                hint = f"words stand without quotes: {value.value}"
            # A value out of range is in the message already.
            found = "" if "out of range" in str(error) else f", not {show_given(argument)}"
            self.diagnostics.error(argument.span, f"{parameter.name} of {kind} {error}{found}", hint=hint)
            raise Unusable from None

    def unknown(self, kind: str, name: str, known: Sequence[str], span: Span) -> str | None:
        """Report an argument that the kind does not have. Returns the one that was probably meant."""
        near = suggest(name, known)
        hint = f"did you mean '{near}'?" if near else f"{kind} takes {', '.join(known) or 'no arguments'}"
        self.diagnostics.error(span, f"{kind} has no '{name}'", hint=hint)
        return near

    def _initialiser(self, value: Value, span: Span) -> Any:
        """A number as it is; ``he`` or ``normal(0.01)`` bound to its declaration."""
        tree = Tree(value, (), {}, span) if isinstance(value, str) and value in self.initialisers else value
        if not isinstance(tree, Tree):
            return value
        start = self.initialisers.get(tree.name)
        if start is None:
            near = suggest(tree.name, self.initialisers)
            hint = f"did you mean '{near}'?" if near else f"initialisers: {', '.join(self.initialisers)}"
            self.diagnostics.error(tree.span, f"unknown initialiser '{tree.name}'", hint=hint)
            raise Unusable
        return CallValue(start.name, self.bind_tree(start.name, start.parameters, tree))

    def bind_tree(self, kind: str, parameters: Sequence[Parameter], tree: Tree) -> dict[str, Attr]:
        """The attributes of a call used as a value; its first argument may be positional."""
        given = dict(tree.named)
        if tree.args:
            if len(tree.args) > 1 or not parameters or parameters[0].name in given:
                self.too_many(kind, parameters, tree.args[-1].span)
                raise Unusable
            given[parameters[0].name] = tree.args[0]
        return self.bind(kind, parameters, given, {}, tree.span)

    def too_many(self, kind: str, parameters: Sequence[Parameter], span: Span) -> None:
        """Report positional arguments beyond the first."""
        if not parameters:
            self.diagnostics.error(span, f"{kind} takes no arguments")
            return
        first = parameters[0].name
        names = ", ".join(p.name for p in parameters[1:])
        message = f"only '{first}', the first argument of {kind}, may stand without a name"
        self.diagnostics.error(span, message, hint=f"{kind} also takes {names}" if names else None)


def takes_initialiser(parameter: Parameter) -> bool:
    """Whether the parameter is a weight's initialiser."""
    inner = parameter.type.inner if isinstance(parameter.type, Optional) else parameter.type
    return isinstance(inner, Init)
