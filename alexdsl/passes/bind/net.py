"""What binding the net has made so far, and the small things that all of its parts need."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from alexdsl.ir.graph import Attr, Op, Result
from alexdsl.ir.protocol import LayerKind, Registry
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostics, suggest
from alexdsl.language.span import Span
from alexdsl.passes.bind.arguments import Arguments
from alexdsl.passes.bind.leaves import Leaves
from alexdsl.passes.bind.scope import Definition, Scope
from alexdsl.passes.bind.values import BROKEN, Evaluator, Ref, Unusable, Value

MOST_STEPS = 100_000
POISON = "?"
"""In place of a value that could not be had; what works on it cannot be had either, and is not reported again."""
RESERVED = {
    "in": "'in' is the value that comes into a def or repeat, and cannot name anything else",
    "label": "'label' is the label that the data brings; it needs no statement, and cannot name anything else",
    "all": "'all' stands for all layers, and cannot name anything else",
    "step": "'step' is the number of the training step, and cannot name anything else",
    "rate": "'rate' is the schedule's factor, and cannot name anything else",
    "share": "'share' names an earlier use of a def, and cannot name anything else",
}


class TooLarge(Exception):
    """The spec expands beyond all measure; that has been reported."""


@dataclass
class Statement:
    """A top-level statement: its name and its steps in order, none where it could not be bound."""

    name: str
    steps: list[str] = field(default_factory=list)


@dataclass
class Net:
    """Ops in order and what is known about them. Every mistake is reported; what cannot be had becomes POISON."""

    registry: Registry
    diagnostics: Diagnostics
    arguments: Arguments
    leaves: Leaves
    seed: int
    ops: list[Op] = field(default_factory=list)
    spans: dict[str, Span] = field(default_factory=dict)
    spoken: dict[str, str] = field(default_factory=dict)
    """What the spec calls a value: ``conv1`` for the last value of that statement."""
    statements: list[Statement] = field(default_factory=list)
    groups: dict[str, set[str]] = field(default_factory=dict)
    """The steps of each group."""
    parameters: dict[str, Op] = field(default_factory=dict)
    using: list[Definition] = field(default_factory=list)
    failed: bool = False
    """Whether the net has mistakes, so that names may be missing from it."""
    work: int = 0

    def __post_init__(self) -> None:
        self.layers: dict[str, tuple[LayerKind, dict[str, Attr]]] = {}
        for name, kind in self.registry.layers.items():
            self.layers[name] = (kind, {})
            self.layers |= {alias: (kind, dict(attrs)) for alias, attrs in kind.aliases.items()}
        words = {word for kind, _ in self.layers.values() for p in kind.parameters for word in p.type.words}
        self.words = (*sorted(words), *self.registry.initialisers)
        self._brought: set[str] = set()

    def evaluator(self, scope: Scope) -> Evaluator:
        """Evaluates expressions under the scope's names and the spec's leaves."""

        def lookup(name: str) -> Value | None:
            found = self.find(name, scope)
            return found if found is not None else self.leaves.get(name)

        return Evaluator(self.diagnostics, lookup, lambda: [*self.leaves.names(), *scope.visible()])

    def find(self, name: str, scope: Scope) -> Value | None:
        """What a name means here. Raises Unusable where it could not be had."""
        found = scope.lookup(name)
        if found is None and "." in name:
            # A step of a statement that could not be bound.
            head = scope.lookup(name.partition(".")[0])
            found = head if isinstance(head, Ref) and head.value == POISON else None
        if found is BROKEN or (isinstance(found, Ref) and found.value == POISON):
            raise Unusable
        return found

    def free(self, name: str, span: Span, scope: Scope) -> bool:
        """Whether a new name may be used here; if not, why not is reported."""
        if name in self.layers:
            self.diagnostics.error(span, f"'{name}' is a layer kind and cannot name anything else")
        elif name in RESERVED:
            self.diagnostics.error(span, RESERVED[name])
        elif name in scope.names or name in scope.defs or name in scope.groups:
            line = scope.below.get(name)
            notes = [f"the first is on line {line}"] if line is not None and line != span.line else []
            self.diagnostics.error(span, f"'{name}' is defined twice", *notes, hint="choose another name")
        else:
            return True
        return False

    def spend(self, span: Span) -> None:
        """Count one step of the expansion. Raises TooLarge beyond the limit."""
        self.work += 1
        if self.work > MOST_STEPS:
            hint = "defs that use other defs twice, and repeats within repeats, grow very fast"
            self.diagnostics.error(span, f"the spec expands to more than {MOST_STEPS:,} steps", hint=hint)
            raise TooLarge

    def append(
        self, kind: str, operands: tuple[str, ...], result: str, attrs: dict[str, Attr], layer: str, span: Span
    ) -> str:
        """Append an op with one result, made for a layer at a place of the text."""
        location = str(span)
        if self.spans.setdefault(location, span) != span:
            # Two included files of one name, or one place seen in two lengths.
            location = f"{span.source.name}:{span.line}:{span.column}"
            self.spans.setdefault(location, span)
        self.ops.append(Op(kind, operands, (Result(result),), attrs, None, layer, location))
        return result

    def label(self, span: Span) -> str:
        """The labels that the data brings."""
        if "label" not in self._brought:
            self._brought.add("label")
            self.append("input", (), "label", {"field": "label"}, "label", span)
        return "label"

    def step_number(self) -> str:
        """The number of the training step, which random layers draw by."""
        if "step" not in self._brought:
            self._brought.add("step")
            self.ops.append(Op("input", (), (Result("step"),), {"field": "step"}))
        return "step"

    def name_value(self, name: str, value: str, scope: Scope) -> None:
        """Let a name stand for a value."""
        scope.names[name] = Ref(value, name)
        if value != POISON:
            spoken = f"{scope.prefix}.{name}" if scope.prefix else name
            known = self.spoken.get(value)
            if known is None or spoken.count(".") < known.count("."):
                self.spoken[value] = spoken

    def unknown_step(self, name: str, span: Span, scope: Scope, *, call: bool) -> None:
        """Report a step that is no layer, def or value."""
        line = scope.line_of(name)
        values = () if call else (n for n in scope.visible() if "." not in n)
        near = suggest(name, islice([*self.layers, *(n for n in scope.visible() if scope.find_def(n)), *values], 2000))
        if line is not None:
            hint: str | None = f"it is defined on line {line}; names are defined above their use"
        elif name == "in":
            hint = "'in' is the value that comes into a def or repeat"
        else:
            hint = f"did you mean '{near}'?" if near else "'alexdsl layers' lists the layer kinds"
        what = "layer kind" if call else "name"
        self.diagnostics.error(span, f"unknown {what} '{name}'", hint=hint)

    def number_as_step(self, name: s.Name | s.Call) -> None:
        """Report a constant where a step is due."""
        shown = name.id if isinstance(name, s.Name) else name.name
        self.diagnostics.error(name.span, f"'{shown}' is a constant, and a chain is made of layers, defs and values")
