"""The leaves of a spec that others refer to (``data.crop``) and that ``--set`` may override."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostics, suggest
from alexdsl.passes.bind.arguments import Given
from alexdsl.passes.bind.values import Evaluator, Unusable, Value


@dataclass(frozen=True)
class Block:
    """The ``data`` block with its values: for every setting what it is and where it stands."""

    name: str
    settings: Mapping[str, Given]


@dataclass
class Leaves:
    """Values of ``data.*`` and the overrides of any leaf; an override that meets no leaf is an error."""

    diagnostics: Diagnostics
    overrides: Mapping[str, s.Expr] = field(default_factory=dict)
    ask: Callable[[Block], int | None] = lambda block: None
    """Asks the data for its number of classes where the spec does not say it."""
    data: s.Data | None = None
    block: Block | None = None
    used: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    asked: int | None = None

    def bind_data(self, evaluator: Evaluator) -> None:
        """Evaluate the data block; its settings may use constants."""
        if self.data is None:
            return
        settings: dict[str, Given] = {}
        for setting in self.data.settings:
            if setting.name in settings:
                self.diagnostics.error(setting.name_span, f"data has two settings '{setting.name}'")
                continue
            try:
                value = self.override(f"data.{setting.name}", evaluator, free=True)
                if value is None:
                    value = evaluator.value(setting.value, free=True)
                settings[setting.name] = Given(value, setting.value.span)
            except Unusable:
                continue
        for path in [p for p in self.overrides if p.startswith("data.") and p not in self.used]:
            name = path.removeprefix("data.")
            try:
                settings[name] = Given(self.override(path, evaluator, free=True), self.overrides[path].span)
            except Unusable:
                continue
        self.block = Block(self.data.name, settings)

    def get(self, name: str) -> Value | None:
        """The value of ``data.X``, or none."""
        if self.block is None or not name.startswith("data."):
            return None
        leaf = name.removeprefix("data.")
        if leaf in self.block.settings:
            return self.block.settings[leaf].value
        if leaf == "classes":
            if self.asked is None:
                self.asked = self.ask(self.block)
            return self.asked
        return None

    def names(self) -> Iterable[str]:
        """All leaves that expressions may name."""
        return [f"data.{name}" for name in (*(self.block.settings if self.block else ()), "classes")]

    def override(self, path: str, evaluator: Evaluator, words: Iterable[str] = (), *, free: bool = False) -> Value | None:
        """The value that ``--set`` gives to a leaf, or none. ``conv1.kernel`` stands for the first step that has one."""
        self.seen.add(path)
        parts = path.split(".")
        short = ".".join((*parts[:-2], parts[-1])) if len(parts) > 2 else path
        for candidate in (path, short):
            if candidate in self.overrides and candidate not in self.used:
                self.used.add(candidate)
                return evaluator.value(self.overrides[candidate], words, free=free)
        return None

    def report_unused(self) -> None:
        """Overrides that met no leaf are mistakes."""
        for path in self.overrides:
            if path not in self.used:
                near = suggest(path, self.seen)
                hint = f"did you mean '{near}'?" if near else "leaves look like data.batch, solver.lr, conv1.kernel, fc6.dropout.p"
                self.diagnostics.error(None, f"--set {path}: the spec has no such leaf", hint=hint)
