"""Names in force while statements are bound: values, constants, defs and defaults, scope within scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from alexdsl.language import syntax as s
from alexdsl.passes.bind.arguments import Given
from alexdsl.passes.bind.values import Value


@dataclass(frozen=True)
class Ref:
    """A value of the net: the name of the op's result that holds it."""

    value: str


@dataclass(frozen=True)
class Towers:
    """The group that statements stand in: its name, number of towers, and the values made inside it so far."""

    name: str
    count: int
    inside: set[str] = field(default_factory=set)


@dataclass
class Scope:
    """One file, def use or repeat round. ``prefix`` begins the names of ops, ``weights`` those of their parameters."""

    prefix: str = ""
    weights: str = ""
    outer: Scope | None = None
    above: str | None = None
    towers: Towers | None = None
    names: dict[str, Value] = field(default_factory=dict)
    defs: dict[str, s.Def] = field(default_factory=dict)
    defaults: list[Mapping[tuple[str, str], Given]] = field(default_factory=list)
    used_defs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """For each named statement that used a def: the def's name and the prefix of its weights."""
    taken: set[str] = field(default_factory=set)

    def lookup(self, name: str) -> Value | None:
        """A name's value here or further out."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None

    def find_def(self, name: str) -> s.Def | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.defs:
                return scope.defs[name]
            scope = scope.outer
        return None

    def visible(self) -> Iterator[str]:
        """All names that could be meant here, the nearest first."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            yield from scope.defs
            scope = scope.outer

    def defaults_for(self, kind: str) -> dict[str, Given]:
        """The settings of ``default`` statements for a kind; the nearest wins. Scopes of callers count as outer ones."""
        found: dict[str, Given] = {}
        for frame in self.defaults:
            found |= {name: given for (of, name), given in frame.items() if of == kind}
        return found

    def unique(self, name: str) -> str:
        """``name``, or the first of ``name_2``, ``name_3`` ... that this scope has not used yet."""
        count, unique = 1, name
        while unique in self.taken:
            count += 1
            unique = f"{name}_{count}"
        self.taken.add(unique)
        return unique
