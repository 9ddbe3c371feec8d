"""From Lark's trees to the syntax tree, with the checks that need no more than the shape of the text."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

from alexdsl.language import syntax
from alexdsl.language.diagnostics import Diagnostics
from alexdsl.language.span import Source, Span

VERSION = 1
"""The version of the language that this release reads."""

MAX_DEPTH = 64
"""How deep brackets, blocks and expressions may nest."""

_OPERATORS: dict[str, syntax.Operator] = {"PLUS": "+", "MINUS": "-", "STAR": "*", "SLASH": "/"}
_TOP_ONLY = {
    syntax.Language: "language",
    syntax.Net: "net",
    syntax.Data: "data",
    syntax.Solver: "solver",
}

MAX_ERRORS = 50
"""How many mistakes of a file are reported at once."""


class Builder:
    """Builds the nodes of one source and notes what is wrong with them in `problems`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems = Diagnostics(MAX_ERRORS)
        self._depths: dict[int, int] = {}

    def build(self, tree: Any) -> syntax.File:
        """The whole file."""
        statements = tuple(self._statement(child) for child in tree.children)
        for place, statement in enumerate(statements):
            if isinstance(statement, syntax.Language) and place:
                self.problems.error(statement.span, "'language' must be the first statement of the file")
        return syntax.File(self.source, statements, span=self.source.span(0, len(self.source.text)))

    def expression(self, tree: Any) -> syntax.Expr:
        """A value of any kind."""
        node: Any = getattr(self, f"_{_kind(tree)}")(tree)
        inner = max((self._depths.get(id(child), 0) for child in syntax.children(node)), default=0)
        self._note_depth(node, inner + 1)
        return cast(syntax.Expr, node)

    def _note_depth(self, node: syntax.Node, depth: int) -> None:
        self._depths[id(node)] = depth
        if depth == MAX_DEPTH + 1:
            self.problems.error(
                node.span, f"this expression is more than {MAX_DEPTH} levels deep", hint="name a part of it with const"
            )

    def _span(self, tree: Any) -> Span:
        if _is_token(tree):
            return self.source.span(tree.start_pos, tree.end_pos)
        return self.source.span(tree.meta.start_pos, tree.meta.end_pos)

    def _plain(self, token: Any, what: str) -> str:
        """A name that is given here, and so may not be dotted."""
        name = str(token)
        if "." in name:
            self.problems.error(
                self._span(token),
                f"'{name}' has a dot, but {what} is a plain name",
                hint=f"choose a name without dots, such as '{name.replace('.', '_')}'",
            )
        return name

    # --- statements

    def _statement(self, tree: Any) -> syntax.Stmt:
        return cast(syntax.Stmt, getattr(self, f"_{_kind(tree)}")(tree))

    def _language(self, tree: Any) -> syntax.Language:
        version = self._NUMBER(tree.children[0])
        if version.value != VERSION or version.unit:
            self.problems.error(
                version.span,
                f"version {version.span.text} of the language is not known",
                hint=f"this release of alexdsl reads version {VERSION}",
            )
        return syntax.Language(int(version.value), span=self._span(tree))

    def _net(self, tree: Any) -> syntax.Net:
        (name,) = tree.children
        return syntax.Net(str(name), span=self._span(tree), name_span=self._span(name))

    def _include(self, tree: Any) -> syntax.Include:
        return syntax.Include(self._STRING(tree.children[0]), span=self._span(tree))

    def _const(self, tree: Any) -> syntax.Const:
        name, value = tree.children
        plain = self._plain(name, "a constant's name")
        return syntax.Const(plain, self.expression(value), span=self._span(tree), name_span=self._span(name))

    def _input(self, tree: Any) -> syntax.Input:
        name, shape = tree.children
        items = cast(syntax.List, self.expression(shape))
        plain = self._plain(name, "an input's name")
        return syntax.Input(plain, items, span=self._span(tree), name_span=self._span(name))

    def _assign(self, tree: Any) -> syntax.Assign:
        name, value = tree.children
        plain = self._plain(name, "the name of a value")
        return syntax.Assign(plain, self.expression(value), span=self._span(tree), name_span=self._span(name))

    def _chain_statement(self, tree: Any) -> syntax.ChainStatement:
        value = self._chain(tree) if len(tree.children) > 1 else self.expression(tree.children[0])
        return syntax.ChainStatement(cast(syntax.Chain, value), span=self._span(tree))

    def _def(self, tree: Any) -> syntax.Def:
        name, *params, block = tree.children
        return syntax.Def(
            self._plain(name, "a def's name"),
            tuple(self._param(param) for param in params),
            self._block(block),
            span=self._span(tree),
            name_span=self._span(name),
        )

    def _param(self, tree: Any) -> syntax.Param:
        name, default = tree.children
        plain = self._plain(name, "a parameter's name")
        value = None if default is None else self.expression(default)
        return syntax.Param(plain, value, span=self._span(tree), name_span=self._span(name))

    def _repeat(self, tree: Any) -> syntax.RepeatStatement:
        name, count, block = tree.children
        return syntax.RepeatStatement(
            None if name is None else self._plain(name, "the name of a value"),
            self.expression(count),
            self._block(block),
            span=self._span(tree),
            name_span=None if name is None else self._span(name),
        )

    def _group(self, tree: Any) -> syntax.Group:
        name, towers, block = tree.children
        return syntax.Group(
            self._plain(name, "a group's name"),
            self.expression(towers),
            self._block(block),
            span=self._span(tree),
            name_span=self._span(name),
        )

    def _block(self, tree: Any) -> tuple[syntax.Stmt, ...]:
        statements = tuple(self._statement(child) for child in tree.children)
        for statement in statements:
            if keyword := _TOP_ONLY.get(type(statement)):
                self.problems.error(statement.span, f"'{keyword}' belongs to the whole file, not inside a block")
        return statements

    def _default(self, tree: Any) -> syntax.Default:
        *kinds, settings = tree.children
        return syntax.Default(
            tuple(self._plain(kind, "a layer kind") for kind in kinds),
            self._settings(settings.children),
            span=self._span(tree),
            kind_spans=tuple(self._span(kind) for kind in kinds),
        )

    def _place(self, tree: Any) -> syntax.Place:
        targets, by, keyword, devices = tree.children
        where = [self._device(device) for device in devices.children]
        device = where[0] if len(where) == 1 and not isinstance(where[0], syntax.List) else None
        names = [self._named(target) for target in targets.children]
        return syntax.Place(
            names[0] if len(names) == 1 else syntax.List(tuple(names), span=self._span(targets)),
            None if by is None else str(by),
            cast(Literal["over", "on"], str(keyword)),
            device or syntax.List(tuple(where), span=self._span(devices)),
            span=self._span(tree),
            by_span=None if by is None else self._span(by),
        )

    def _device(self, tree: Any) -> syntax.Name | syntax.Range | syntax.List:
        if _kind(tree) == "team":
            names = tree.children[0].children
            return syntax.List(tuple(self._named(name) for name in names), span=self._span(tree))
        return self._named(tree)

    def _named(self, tree: Any) -> syntax.Name | syntax.Range:
        return self._NAME(tree) if _is_token(tree) else self._range(tree)

    def _solver(self, tree: Any) -> syntax.Solver:
        kind, *items = tree.children
        blocks = [item for item in items if _kind(item) == "solver_block"]
        return syntax.Solver(
            self._plain(kind, "a solver"),
            self._settings([item for item in items if _kind(item) == "setting"]),
            tuple(self._solver_block(block) for block in blocks),
            span=self._span(tree),
            kind_span=self._span(kind),
        )

    def _solver_block(self, tree: Any) -> syntax.SolverBlock:
        selectors, settings = tree.children
        names = tuple(self._named(selector) for selector in selectors.children)
        return syntax.SolverBlock(names, self._settings(settings.children), span=self._span(tree))

    def _data(self, tree: Any) -> syntax.Data:
        name, settings = tree.children
        found = self._settings(settings.children)
        return syntax.Data(str(name), found, span=self._span(tree), name_span=self._span(name))

    def _settings(self, trees: list[Any]) -> tuple[syntax.Setting, ...]:
        return tuple(
            syntax.Setting(
                self._plain(name, "a setting's name"),
                self.expression(value),
                span=self._span(tree),
                name_span=self._span(name),
            )
            for tree in trees
            for name, value in [tree.children]
        )

    def _report(self, tree: Any) -> syntax.Report:
        return syntax.Report(tuple(self.expression(item) for item in tree.children), span=self._span(tree))

    # --- expressions

    def _NUMBER(self, token: Any) -> syntax.Number:
        text, span = str(token), self._span(token)
        unit: syntax.Unit = "%" if text.endswith("%") else "x" if text.endswith("x") else ""
        digits = text.removesuffix(unit)
        if digits.isdigit() and len(digits) <= 18:
            return syntax.Number(int(digits), unit, span=span)
        value = float(digits)
        if digits.isdigit() or math.isinf(value):
            self.problems.error(span, "this number is too large")
            value = 1.0
        return syntax.Number(value, unit, span=span)

    def _STRING(self, token: Any) -> syntax.String:
        parts = str(token)[1:-1].split("\\\\")
        plain = [part.replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t") for part in parts]
        return syntax.String("\\".join(plain), span=self._span(token))

    def _NAME(self, token: Any) -> syntax.Name:
        return syntax.Name(str(token), span=self._span(token))

    def _range(self, tree: Any) -> syntax.Range:
        first, last = tree.children
        return syntax.Range(str(first), str(last), span=self._span(tree))

    def _call(self, tree: Any) -> syntax.Call:
        name, *args = tree.children
        return syntax.Call(
            str(name), tuple(self._arg(arg) for arg in args), span=self._span(tree), name_span=self._span(name)
        )

    def _arg(self, tree: Any) -> syntax.Arg:
        name, value = tree.children
        node = syntax.Arg(
            None if name is None else self._plain(name, "an argument's name"),
            self.expression(value),
            span=self._span(tree),
            name_span=None if name is None else self._span(name),
        )
        self._depths[id(node)] = self._depths[id(node.value)]
        return node

    def _list(self, tree: Any) -> syntax.List:
        return syntax.List(tuple(self.expression(item) for item in tree.children), span=self._span(tree))

    def _chain(self, tree: Any) -> syntax.Chain:
        steps = cast("list[syntax.Name | syntax.Call]", [self.expression(step) for step in tree.children])
        return syntax.Chain(tuple(steps), span=self._span(tree))

    def _negate(self, tree: Any) -> syntax.Negate:
        return syntax.Negate(self.expression(tree.children[1]), span=self._span(tree))

    def _sum(self, tree: Any) -> syntax.Expr:
        first, *rest = tree.children
        left = self.expression(first)
        start = self._span(tree).start
        for operator, operand in zip(rest[::2], rest[1::2], strict=True):
            right = self.expression(operand)
            depth = max(self._depths[id(left)], self._depths[id(right)])
            span = self.source.span(start, self._span(operand).end)
            left = syntax.Binary(_OPERATORS[operator.type], left, right, span=span)
            self._note_depth(left, depth + 1)
        return left

    _product = _sum


def _is_token(tree: Any) -> bool:
    return isinstance(tree, str)


def _kind(tree: Any) -> str:
    """The rule of a tree or the type of a token."""
    return cast(str, tree.type) if _is_token(tree) else str(tree.data)
