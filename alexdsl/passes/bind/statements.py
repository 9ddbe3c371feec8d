"""The statements that make the net: inputs, constants, chains, repeats, groups and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alexdsl.ir.graph import Attr
from alexdsl.ir.parameters import whole
from alexdsl.language import suggest
from alexdsl.language import syntax as s
from alexdsl.passes.bind.chains import argument_words
from alexdsl.passes.bind.defs import Defs
from alexdsl.passes.bind.names import ChainNames, defined
from alexdsl.passes.bind.net import MOST_STEPS, POISON, Statement
from alexdsl.passes.bind.scope import Scope, Towers
from alexdsl.passes.bind.values import BROKEN, Given, Ref, Unusable, show_given

MOST_TOWERS = 1024
FIELDS = ("image",)
"""What an input may be called: the fields that every data source has, beside ``label``, which is no input."""


class NetBinder(Defs):
    """Appends ops for statements. Every mistake is reported, and only once: what follows from it is left out."""

    def block(self, statements: Sequence[s.Stmt], scope: Scope) -> None:
        """Bind a block's statements in order; its constants and defaults hold for all of it."""
        defs = {t.name for t in statements if isinstance(t, s.Def)}
        for name, span in defined(statements):
            scope.below.setdefault(name, span.line)
            if name not in defs:
                scope.taken.add(name)
        self.constants([t for t in statements if isinstance(t, s.Const)], scope)
        scope.defaults.append(self._defaults([t for t in statements if isinstance(t, s.Default)], scope))
        for statement in statements:
            self.spend(statement.span)
            self._statement(statement, scope)
        scope.defaults.pop()

    def constants(self, statements: Sequence[s.Const], scope: Scope) -> None:
        """Bind constants, in the order of the file."""
        for name, span in defined(statements):
            scope.below.setdefault(name, span.line)
        for statement in statements:
            if not self.free(statement.name, statement.name_span, scope):
                continue
            try:
                scope.names[statement.name] = self._leaf(statement.name, statement.value, scope, self.words).value
            except Unusable:
                scope.names[statement.name] = BROKEN

    def _leaf(self, path: str, expr: s.Expr, scope: Scope, words: Iterable[str] = ()) -> Given:
        """The value of an expression, or what ``--set`` puts in its place. Raises Unusable."""
        evaluator = self.evaluator(scope)
        found = self.leaves.override(path, evaluator, words) if scope.is_top else None
        return found if found is not None else Given(evaluator.value(expr, words), expr.span)

    def _statement(self, statement: s.Stmt, scope: Scope) -> None:
        if isinstance(statement, s.Assign | s.ChainStatement):
            self._chain_statement(statement, scope)
        elif isinstance(statement, s.RepeatStatement):
            self._repeat(statement, scope)
        elif isinstance(statement, s.Group):
            self._group(statement, scope)
        elif isinstance(statement, s.Def):
            self.define(statement, scope)
        elif isinstance(statement, s.Const | s.Default):
            pass
        elif not scope.is_top or scope.towers is not None:
            word = type(statement).__name__.lower()
            self.diagnostics.error(statement.span, f"'{word}' stands at the top of a spec, not inside a block")
        elif isinstance(statement, s.Input):
            self._input(statement, scope)

    # --- inputs and chains

    def _input(self, statement: s.Input, scope: Scope) -> None:
        name = statement.name
        if not self.free(name, statement.name_span, scope):
            scope.above = POISON
            return
        scope.above = POISON
        self.name_value(name, POISON, scope)
        if name not in FIELDS:
            near = suggest(name, FIELDS)
            hint = f"did you mean '{near}'?" if near else "input image [3, 227, 227]"
            message = f"the data has no field '{name}'"
            note = "its fields are 'image', and 'label', which needs no input"
            self.diagnostics.error(statement.name_span, message, note, hint=hint)
        try:
            sizes = self._shape(self._leaf(name, statement.shape, scope))
        except Unusable:
            return
        attrs: dict[str, Attr] = {"field": name, "shape": sizes}
        scope.above = self.append("input", (), name, attrs, name, statement.span)
        self.name_value(name, name, scope)

    def _shape(self, given: Given) -> tuple[int, ...]:
        values = given.value if isinstance(given.value, tuple) else ()
        sizes = [n for n in map(whole, values) if n is not None and 1 <= n < 2**31]
        if not sizes or len(sizes) != len(values):
            message = f"an input's shape is a list of whole numbers of at least 1, not {show_given(given)}"
            self.diagnostics.error(given.span, message)
            raise Unusable
        return tuple(sizes)

    def _chain_statement(self, statement: s.Assign | s.ChainStatement, scope: Scope) -> None:
        name = statement.name if isinstance(statement, s.Assign) else None
        if isinstance(statement, s.Assign) and not self.free(statement.name, statement.name_span, scope):
            scope.above = POISON
            return
        at = len(self.ops)
        try:
            scope.above = self.chain(statement.value, scope, ChainNames(scope, name))
        except Unusable:
            scope.above = POISON
        if name is not None:
            self.name_value(name, scope.above, scope)
        self._record(name, at, scope)

    def _record(self, name: str | None, at: int, scope: Scope) -> None:
        steps = list(dict.fromkeys(op.layer for op in self.ops[at:] if op.kind != "input"))
        if scope.is_top and (steps or name is not None):
            self.statements.append(Statement(name or steps[0], steps))

    # --- repeats and groups

    def _repeat(self, statement: s.RepeatStatement, scope: Scope) -> None:
        span = statement.name_span or statement.span
        if statement.name is not None and not self.free(statement.name, span, scope):
            scope.above = POISON
            return
        name = statement.name or scope.unique("repeat")
        at = len(self.ops)
        for turn in range(1, self._rounds(statement, name, scope) + 1):
            self.spend(statement.span)
            inner = Scope(_under(scope.prefix, name, turn), _under(scope.weights, name, turn), scope, scope.above)
            inner.towers, inner.defaults = scope.towers, list(scope.defaults)
            if scope.above is not None:
                inner.names["in"] = Ref(scope.above, "in")
            self.block(statement.body, inner)
            scope.above = inner.above
        if statement.name is not None and scope.above is not None:
            self.name_value(name, scope.above, scope)
        self._record(statement.name, at, scope)

    def _rounds(self, statement: s.RepeatStatement, name: str, scope: Scope) -> int:
        """How often; once where that could not be had, so that the body is looked at, its value poisoned."""
        try:
            given = self._leaf(name, statement.count, scope)
            count = whole(given.value)
            if count is None or not 1 <= count <= MOST_STEPS:
                shown = f"repeat takes a whole number from 1 to {MOST_STEPS:,}, not {show_given(given)}"
                self.diagnostics.error(given.span, shown)
                raise Unusable
        except Unusable:
            scope.above = POISON
            return 1
        return count

    def _group(self, statement: s.Group, scope: Scope) -> None:
        if scope.towers is not None:
            message = f"groups do not nest, and this one stands inside '{scope.towers.name}'"
            self.diagnostics.error(statement.name_span, message)
            self.block(statement.body, scope)
            return
        if self.free(statement.name, statement.name_span, scope):
            scope.groups.add(statement.name)
        self.groups.setdefault(statement.name, set())
        count = self._towers(statement, scope)
        if count is None:
            scope.above = POISON
        scope.towers = Towers(statement.name, count or 1)
        self.block(statement.body, scope)
        scope.towers = None

    def _towers(self, statement: s.Group, scope: Scope) -> int | None:
        try:
            given = self._leaf(statement.name, statement.towers, scope)
        except Unusable:
            return None
        count = whole(given.value)
        if count is None or not 1 <= count <= MOST_TOWERS:
            message = f"a group has a whole number of towers from 1 to {MOST_TOWERS:,}, not {show_given(given)}"
            self.diagnostics.error(given.span, message)
            return None
        return count

    # --- defaults

    def _defaults(self, statements: Sequence[s.Default], scope: Scope) -> dict[tuple[str, str], Given]:
        """What a block's default statements say; a setting that could not be had is there as BROKEN."""
        frame: dict[tuple[str, str], Given] = {}
        for statement in statements:
            spans = statement.kind_spans or (statement.span,) * len(statement.kinds)
            for kind, span in zip(statement.kinds, spans, strict=True):
                if kind in self.layers:
                    self._default(kind, statement, frame, scope)
                else:
                    self.unknown_step(kind, span, scope, call=True)
        return frame

    def _default(self, kind_name: str, statement: s.Default, frame: dict[tuple[str, str], Given], scope: Scope) -> None:
        kind, fixed = self.layers[kind_name]
        parameters = {p.name: p for p in kind.parameters if p.name not in fixed}
        for setting in statement.settings:
            given = Given(BROKEN, setting.value.span)
            if setting.name not in parameters:
                near = self.arguments.unknown(kind_name, setting.name, list(parameters), setting.name_span)
                frame |= {(kind_name, near): given} if near is not None else {}
                continue
            key, parameter = (kind_name, setting.name), parameters[setting.name]
            if key in frame:
                message = f"this block has two defaults for '{setting.name}' of {kind_name}"
                self.diagnostics.error(setting.name_span, message)
                continue
            frame[key] = given
            try:
                path = f"default.{kind_name}.{setting.name}"
                given = self._leaf(path, setting.value, scope, argument_words(parameter, self))
                self.arguments.accept(parameter, given, kind_name)
                frame[key] = given
            except Unusable:
                continue


def _under(prefix: str, name: str, turn: int) -> str:
    return f"{prefix}.{name}.{turn}" if prefix else f"{name}.{turn}"
