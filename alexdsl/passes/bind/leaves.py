"""The leaves of a spec that others refer to (``data.crop``) and that ``--set`` may override."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostic, Diagnostics, SpecError, suggest
from alexdsl.passes.bind.values import BROKEN, Evaluator, Given, Unusable, Value


@dataclass(frozen=True)
class Block:
    """The ``data`` block with its values: for every setting what it is and where it stands."""

    name: str
    settings: Mapping[str, Given]


Ask = Callable[[Block], int | None]
"""Finds the number of classes where the spec does not say it; none where it is not known. May raise SpecError."""
Check = Callable[[Block], Iterable[Diagnostic]]
"""Says what is wrong with a data block."""


@dataclass
class Leaves:
    """Values of ``data.*`` and the overrides of any leaf; an override that meets no leaf is an error."""

    diagnostics: Diagnostics
    overrides: Mapping[str, s.Expr] = field(default_factory=dict)
    ask: Ask = lambda block: None
    data: s.Data | None = None
    block: Block | None = None
    used: set[str] = field(default_factory=set)
    seen: dict[str, None] = field(default_factory=dict)
    wrong: bool = False
    """Whether the block has mistakes that were reported; what depends on it is then not reported again."""
    asked: int | None = None

    def bind_data(self, evaluator: Evaluator, check: Check) -> None:
        """Evaluate the data block; its settings may use constants."""
        if self.data is None:
            return
        settings: dict[str, Given] = {}
        for setting in self.data.settings:
            if setting.name in settings:
                self.diagnostics.error(setting.name_span, f"data has two settings '{setting.name}'")
                self.wrong = True
                continue
            try:
                given = self.override(f"data.{setting.name}", evaluator, free=True)
                if given is None:
                    value = evaluator.value(setting.value, free=True)
                    given = Given(value, setting.value.span, setting.name_span)
                settings[setting.name] = given
            except Unusable:
                self.wrong = True
                settings[setting.name] = Given(BROKEN, setting.value.span, setting.name_span)
        for path in [p for p in self.overrides if p.startswith("data.") and p not in self.used]:
            try:
                given = self.override(path, evaluator, free=True)
                if given is not None:
                    settings[path.removeprefix("data.")] = given
            except Unusable:
                self.wrong = True
        self.block = Block(self.data.name, settings)
        if not self.wrong:
            found = list(check(self.block))
            self.wrong = any(d.severity == "error" for d in found)
            self.diagnostics.extend(found)

    def get(self, name: str) -> Value | None:
        """The value of ``data.X``, or none. Raises Unusable where it could not be had."""
        if self.block is None or not name.startswith("data."):
            return None
        leaf = name.removeprefix("data.")
        if leaf in self.block.settings:
            value = self.block.settings[leaf].value
            if value is BROKEN or (leaf == "classes" and self.wrong):
                raise Unusable
            return value
        return self._classes() if leaf == "classes" else None

    def _classes(self) -> int | None:
        assert self.block is not None
        if self.wrong:
            raise Unusable
        if self.asked is None:
            try:
                self.asked = self.ask(self.block)
            except SpecError as error:
                self.wrong = True
                self.diagnostics.extend(error.diagnostics)
                raise Unusable from None
        return self.asked

    def names(self) -> Iterable[str]:
        """All leaves that expressions may name."""
        return [f"data.{name}" for name in (*self.block.settings, "classes")] if self.block else []

    def override(
        self, path: str, evaluator: Evaluator, words: Iterable[str] = (), *, free: bool = False
    ) -> Given | None:
        """What ``--set`` gives to a leaf, or none. ``conv1.kernel`` stands for the first step that has one.

        Raises Unusable.
        """
        if not self.overrides:
            return None
        parts = path.split(".")
        short = ".".join((*parts[:-2], parts[-1])) if len(parts) > 2 else path
        for candidate in dict.fromkeys((path, short)):
            self.seen[candidate] = None
            if candidate in self.overrides and candidate not in self.used:
                self.used.add(candidate)
                expr = self.overrides[candidate]
                return Given(evaluator.value(expr, words, free=free), expr.span)
        return None

    def report_unused(self, broken: bool) -> None:
        """Overrides that met no leaf are mistakes; where the spec is ``broken``, its leaves may be missing from it."""
        for path, expr in self.overrides.items():
            if path in self.used or (broken and "." in path):
                continue
            near = suggest(path, islice(self.seen, 5000))
            hint = f"did you mean '{near}'?" if near else "leaves are written data.batch, solver.lr, conv1.kernel"
            self.diagnostics.error(expr.span, f"the spec has no such leaf: {path}", hint=hint)
