"""How the steps of a chain and their weights are called, and which names a block defines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from alexdsl.language import syntax as s
from alexdsl.language.span import Span
from alexdsl.passes.bind.scope import Scope, unique
from alexdsl.passes.bind.values import Ref


@dataclass
class ChainNames:
    """Names the steps of one statement: ``conv1.conv``, ``conv1.relu``, a second of a kind ``conv1.conv_2``.

    Chains in its arguments are part of it. A statement without a name gives its scope's next free ones.
    """

    scope: Scope
    name: str | None
    taken: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    owned: bool = False

    def step(self, kind: str) -> str:
        """The name of the next step of this kind, within the statement."""
        return self.scope.unique(kind) if self.name is None else unique(kind, self.taken, self.counts)

    def full(self, local: str) -> str:
        """A step's full name."""
        return _join(self.scope.prefix, self.name, local)

    def weights(self, local: str) -> str:
        """What the weights are named after that a def makes, used as this step."""
        return _join(self.scope.weights, self.name, local)

    def owner(self, local: str) -> str:
        """What a layer's weights are named after: the statement for its first layer with weights, else the step."""
        if self.name is not None and not self.owned:
            self.owned = True
            return _join(self.scope.weights, self.name)
        return self.weights(local)

    def made(self, local: str, value: str) -> None:
        """Let later statements refer to the step: ``conv1.relu``."""
        if self.name is not None:
            spoken = f"{self.name}.{local}"
            self.scope.names[spoken] = Ref(value, spoken)


def _join(*parts: str | None) -> str:
    return ".".join(part for part in parts if part)


def defined(statements: Sequence[s.Stmt]) -> Iterator[tuple[str, Span]]:
    """The names that a block defines, those inside its groups too."""
    for statement in statements:
        if isinstance(statement, s.Assign | s.Const | s.Def | s.Input):
            yield statement.name, statement.name_span
        elif isinstance(statement, s.RepeatStatement) and statement.name is not None:
            yield statement.name, statement.name_span or statement.span
        elif isinstance(statement, s.Group):
            yield statement.name, statement.name_span
            yield from defined(statement.body)
