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
from alexdsl.passes.bind.values import Tree, Unusable, Value, show


@dataclass(frozen=True)
class Given:
    """One argument as evaluated, and where it stands."""

    value: Value
    span: Span


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
        failed = False
        known = {p.name: p for p in parameters}
        for name, argument in given.items():
            if name not in known and name not in extra:
                failed = True
                self.unknown(kind, name, [*known, *extra], argument.span)
        attrs: dict[str, Attr] = {}
        for parameter in parameters:
            argument = given.get(parameter.name) or defaults.get(parameter.name)
            if argument is None:
                if parameter.default is REQUIRED:
                    failed = True
                    doc = f", {parameter.doc}" if parameter.doc else ""
                    hint = f"{parameter.name} is {parameter.type}{doc}"
                    self.diagnostics.error(span, f"{kind} needs '{parameter.name}'", hint=hint)
                else:
                    attrs[parameter.name] = parameter.default
                continue
            try:
                attrs[parameter.name] = self.accept(parameter, argument, kind)
            except Unusable:
                failed = True
        if failed:
            raise Unusable
        return attrs

    def accept(self, parameter: Parameter, argument: Given, kind: str) -> Attr:
        """One argument as an attribute. Raises Unusable."""
        value = argument.value
        if takes_initialiser(parameter):
            value = self._initialiser(value, argument.span)
        try:
            return parameter.type.accept(value)
        except Mismatch as error:
            near = suggest(value, parameter.type.words) if isinstance(value, str) else None
            hint = f"did you mean '{near}'?" if near else None
            message = f"{parameter.name} of {kind} {error}, not {show(value)}"
            self.diagnostics.error(argument.span, message, hint=hint)
            raise Unusable from None

    def unknown(self, kind: str, name: str, known: Sequence[str], span: Span) -> None:
        """Report an argument that the kind does not have."""
        near = suggest(name, known)
        hint = f"did you mean '{near}'?" if near else f"{kind} takes {', '.join(known) or 'no arguments'}"
        self.diagnostics.error(span, f"{kind} has no '{name}'", hint=hint)

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
        if len(tree.args) > 1:
            self.too_many(kind, parameters, tree.span)
            raise Unusable
        given = {name: Given(value, tree.span) for name, value in tree.named.items()}
        if tree.args:
            if not parameters or parameters[0].name in given:
                self.too_many(kind, parameters, tree.span)
                raise Unusable
            given[parameters[0].name] = Given(tree.args[0], tree.span)
        return self.bind(kind, parameters, given, {}, tree.span)

    def too_many(self, kind: str, parameters: Sequence[Parameter], span: Span) -> None:
        """Report positional arguments beyond the first."""
        first = f"only its first argument, '{parameters[0].name}', may stand without a name" if parameters else "it takes none"
        named = ", ".join(f"{p.name} = ..." for p in parameters[1:4])
        hint = f"name the others: {named}" if named else None
        self.diagnostics.error(span, f"too many arguments without a name for {kind}: {first}", hint=hint)


def takes_initialiser(parameter: Parameter) -> bool:
    """Whether the parameter is a weight's initialiser."""
    inner = parameter.type.inner if isinstance(parameter.type, Optional) else parameter.type
    return isinstance(inner, Init)
