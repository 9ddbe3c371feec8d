"""The syntax tree of a spec: plain frozen records, each with its span; equality ignores spans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from alexdsl.language.span import NOWHERE, Source, Span

Unit: TypeAlias = Literal["", "%", "x"]
Operator: TypeAlias = Literal["+", "-", "*", "/"]


@dataclass(frozen=True, slots=True)
class Node:
    """What every part of the tree has: the span of the text it was read from."""

    span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)


# --- expressions


@dataclass(frozen=True, slots=True)
class Number(Node):
    """`96`, `0.01`, `50%` (value 50, unit "%") or `2x` (value 2, unit "x"); never negative."""

    value: int | float
    unit: Unit = ""


@dataclass(frozen=True, slots=True)
class String(Node):
    """A text in double quotes, its escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A word, dotted or not: `relu`, `data.crop`, `conv1.weight`."""

    id: str


@dataclass(frozen=True, slots=True)
class Arg(Node):
    """One argument of a call; its name is None where it is positional."""

    name: str | None
    value: Expr
    name_span: Span | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`conv(96, kernel=3)`; `name_span` holds only the name."""

    name: str
    args: tuple[Arg, ...] = ()
    name_span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class List(Node):
    """`[3, 227, 227]`; in `place` also a bare list between commas."""

    items: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`conv1..conv5`, both ends included."""

    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """Arithmetic on two values."""

    op: Operator
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Negate(Node):
    """`-x`."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """`a | b | c`: two or more steps, each a Name or a Call. A single step is no Chain but stands by itself."""

    steps: tuple[Name | Call, ...]


Expr: TypeAlias = Number | String | Name | Call | List | Range | Binary | Negate | Chain


# --- statements


@dataclass(frozen=True, slots=True)
class Named(Node):
    """A node with a name of its own; `name_span` holds only the name."""

    name_span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Setting(Named):
    """`name = value` in a block of settings."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Param(Named):
    """A parameter of a def."""

    name: str
    default: Expr | None = None


@dataclass(frozen=True, slots=True)
class Language(Node):
    """`language 1`."""

    version: int


@dataclass(frozen=True, slots=True)
class Net(Named):
    """`net vgg-a`."""

    name: str


@dataclass(frozen=True, slots=True)
class Include(Node):
    """`include "file.net"`."""

    path: String


@dataclass(frozen=True, slots=True)
class Const(Named):
    """`const width = 64`."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Input(Named):
    """`input image [3, 227, 227]`."""

    name: str
    shape: List


@dataclass(frozen=True, slots=True)
class Assign(Named):
    """`conv1 = conv(96) | relu`; the value is a Chain, or a single step as it stands."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class ChainStatement(Node):
    """A chain or a single step without a name."""

    value: Chain | Name | Call


@dataclass(frozen=True, slots=True)
class Def(Named):
    """`def block(width, stride = 1) { ... }`."""

    name: str
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class RepeatStatement(Node):
    """`repeat 3 { ... }` or `stage = repeat 3 { ... }`."""

    name: str | None
    count: Expr
    body: tuple[Stmt, ...]
    name_span: Span | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Group(Named):
    """`group tower(2) { ... }`."""

    name: str
    towers: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Default(Node):
    """`default conv, linear { bias = 0 }`."""

    kinds: tuple[str, ...]
    settings: tuple[Setting, ...]
    kind_spans: tuple[Span, ...] = field(default=(), compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Place(Node):
    """`place T [by axis] over D` or `place T on D`.

    The target is a Name or a Range, or a List of two and more of them. The devices are a Name or a Range, or a List of
    those; a team is a List within the List, so that one team alone is a List of one List.
    """

    target: Name | Range | List
    by: str | None
    keyword: Literal["over", "on"]
    devices: Name | Range | List
    by_span: Span | None = field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class SolverBlock(Node):
    """`bias, conv1..conv3 { lr = 2x }` inside a solver; the selectors are Names or Ranges."""

    selectors: tuple[Name | Range, ...]
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Solver(Node):
    """`solver sgd { ... }`: the settings and the blocks, each kept in the order of the file."""

    kind: str
    settings: tuple[Setting, ...]
    blocks: tuple[SolverBlock, ...] = ()
    kind_span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Data(Named):
    """`data imagenet { ... }`."""

    name: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Report(Node):
    """`report top1(fc8), top5(fc8)`."""

    items: tuple[Expr, ...]


Stmt: TypeAlias = (
    Language
    | Net
    | Include
    | Const
    | Input
    | Assign
    | ChainStatement
    | Def
    | RepeatStatement
    | Group
    | Default
    | Place
    | Solver
    | Data
    | Report
)


@dataclass(frozen=True, slots=True)
class File(Node):
    """A whole spec."""

    source: Source = field(compare=False, repr=False)
    statements: tuple[Stmt, ...]


def children(node: Node) -> Iterator[Node]:
    """The nodes directly inside a node, in the order of the fields."""
    for f in fields(node):
        value = getattr(node, f.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node))


def walk(node: Node) -> Iterator[Node]:
    """A node and everything inside it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)
