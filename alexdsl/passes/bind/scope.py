"""Names in force while statements are bound: values, constants, defs and defaults, scope within scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from alexdsl.language import syntax as s
from alexdsl.passes.bind.values import Given, Value


@dataclass(frozen=True)
class Towers:
    """The group that statements stand in: its name, number of towers, and the values made inside it so far."""

    name: str
    count: int
    inside: set[str] = field(default_factory=set)


Defaults = Mapping[tuple[str, str], Given]
"""The settings of a block's ``default`` statements by (kind, parameter)."""


@dataclass
class Scope:
    """One file, def use or repeat round. ``prefix`` begins the names of ops, ``weights`` those of their parameters."""

    prefix: str = ""
    weights: str = ""
    outer: Scope | None = None
    above: str | None = None
    """What a statement continues from; none at the start of a file."""
    towers: Towers | None = None
    names: dict[str, Value] = field(default_factory=dict)
    defs: dict[str, Definition] = field(default_factory=dict)
    below: dict[str, int] = field(default_factory=dict)
    """Names that the statements of this scope define, with their lines."""
    groups: set[str] = field(default_factory=set)
    defaults: list[Defaults] = field(default_factory=list)
    """Defaults in force, the nearest last; those of a def's users count as further out."""
    uses: dict[str, tuple[Definition, str]] = field(default_factory=dict)
    """For each named statement that used a def: the def and the prefix of its weights."""
    taken: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_top(self) -> bool:
        """Whether this is a file's own scope, or a group in it."""
        return self.outer is None

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def lookup(self, name: str) -> Value | None:
        """A name's value here or further out."""
        return next((scope.names[name] for scope in self.chain() if name in scope.names), None)

    def find_def(self, name: str) -> Definition | None:
        """A def by name, here or further out."""
        return next((scope.defs[name] for scope in self.chain() if name in scope.defs), None)

    def find_use(self, name: str) -> tuple[Definition, str] | None:
        """The def that a statement used, and the prefix of its weights."""
        return next((scope.uses[name] for scope in self.chain() if name in scope.uses), None)

    def line_of(self, name: str) -> int | None:
        """The line on which a name is defined, be it below."""
        return next((scope.below[name] for scope in self.chain() if name in scope.below), None)

    def visible(self) -> Iterator[str]:
        """All names that could be meant here, the nearest first."""
        for scope in self.chain():
            yield from scope.names
            yield from scope.defs

    def defaults_for(self, kind: str) -> dict[str, Given]:
        """The settings of ``default`` statements for a kind; the nearest wins."""
        found: dict[str, Given] = {}
        for frame in self.defaults:
            found |= {name: given for (of, name), given in frame.items() if of == kind}
        return found

    def unique(self, name: str) -> str:
        """``name``, or the first of ``name_2``, ``name_3`` ... that this scope has not used yet."""
        return unique(name, self.taken, self.counts)


@dataclass(frozen=True)
class Definition:
    """A def and the scope that it stands in, whose names it sees."""

    statement: s.Def
    home: Scope = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.statement.name


def unique(name: str, taken: set[str], counts: dict[str, int]) -> str:
    """``name``, or the first of ``name_2``, ``name_3`` ... that is not taken; it is taken then."""
    found = name
    count = counts.get(name, 1)
    if count > 1:
        found = f"{name}_{count}"
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    counts[name] = count
    taken.add(found)
    return found
