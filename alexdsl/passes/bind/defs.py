"""Uses of a def: its arguments, its scope, its weights."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.language import syntax as s
from alexdsl.passes.bind.chains import Chains
from alexdsl.passes.bind.names import ChainNames
from alexdsl.passes.bind.net import POISON, RESERVED
from alexdsl.passes.bind.scope import Definition, Scope
from alexdsl.passes.bind.values import BROKEN, Ref, Unusable, Value, check_order

DEEPEST = 64


class Defs(Chains):
    """Binds defs; their bodies are bound by what builds on it."""

    def block(self, statements: Sequence[s.Stmt], scope: Scope) -> None:
        """Bind a block's statements in a scope."""
        raise NotImplementedError

    def define(self, statement: s.Def, scope: Scope) -> None:
        """Let a def be used from here on."""
        if not self.free(statement.name, statement.name_span, scope):
            return
        names: set[str] = set()
        for parameter in statement.params:
            if parameter.name in self.layers:
                message = f"'{parameter.name}' is a layer kind and cannot name a parameter"
                self.diagnostics.error(parameter.name_span, message)
            elif parameter.name in RESERVED:
                self.diagnostics.error(parameter.name_span, RESERVED[parameter.name])
            elif parameter.name in names:
                message = f"def '{statement.name}' has two parameters '{parameter.name}'"
                self.diagnostics.error(parameter.name_span, message)
            names.add(parameter.name)
        scope.defs[statement.name] = Definition(statement, scope)

    def use_def(self, definition: Definition, call: s.Call, flow: str | None, scope: Scope, names: ChainNames) -> str:
        """The value that a def makes. Raises Unusable."""
        self._check_depth(definition, call)
        local = names.step(definition.name)
        check_order(call, self.diagnostics)
        bound, share = self._arguments(definition, call, scope, names)
        weights = names.weights(local)
        if share is not None:
            weights = self._shared(definition, share, scope)
        elif names.name is not None:
            scope.uses.setdefault(names.name, (definition, weights))
        value = flow if flow is not None else scope.above
        inner = Scope(names.full(local), weights, definition.home, value, scope.towers)
        inner.defaults = list(scope.defaults)
        inner.names |= bound
        if value is not None:
            inner.names["in"] = Ref(value, "in")
        self.using.append(definition)
        try:
            self.block(definition.statement.body, inner)
        finally:
            self.using.pop()
        if inner.above is None:
            self.diagnostics.error(call.name_span, f"def '{definition.name}' makes no value")
            raise Unusable
        if inner.above == POISON:
            raise Unusable
        names.made(local, inner.above)
        return inner.above

    def _check_depth(self, definition: Definition, call: s.Call) -> None:
        name = definition.name
        at = next((i for i, used in enumerate(self.using) if used is definition), None)
        if at is not None:
            circle = " -> ".join((*(used.name for used in self.using[at:]), name))
            notes = [f"in turn: {circle}"] if len(self.using) - at > 1 else []
            hint = "a def cannot use itself; repeat n { ... } does something n times"
            self.diagnostics.error(call.name_span, f"def '{name}' uses itself", *notes, hint=hint)
            raise Unusable
        if len(self.using) >= DEEPEST:
            self.diagnostics.error(call.name_span, f"defs use each other more than {DEEPEST} deep")
            raise Unusable

    def _arguments(
        self, definition: Definition, call: s.Call, scope: Scope, names: ChainNames
    ) -> tuple[dict[str, Value], s.Arg | None]:
        """The parameters' values, and the argument ``share`` if there is one. Raises Unusable."""
        name, parameters = definition.name, definition.statement.params
        known = {p.name: p for p in parameters}
        positional = iter(parameters)
        bound: dict[str, Value] = {}
        meant: set[str | None] = set()
        share: s.Arg | None = None
        failed = False
        for arg in call.args:
            if arg.name == "share":
                share = arg
                continue
            parameter = known.get(arg.name) if arg.name is not None else next(positional, None)
            if parameter is None:
                failed = True
                if arg.name is None:
                    takes = ", ".join(known) or "no arguments"
                    self.diagnostics.error(arg.span, f"too many arguments for '{name}', which takes {takes}")
                else:
                    where = arg.name_span or arg.span
                    meant.add(self.arguments.unknown(f"'{name}'", arg.name, [*known, "share"], where))
            elif parameter.name in bound:
                failed = True
                self.diagnostics.error(arg.span, f"'{name}' is given '{parameter.name}' twice")
            else:
                try:
                    bound[parameter.name] = self._def_value(arg.value, scope, names)
                except Unusable:
                    failed = True
                    bound[parameter.name] = BROKEN
        seen = Scope(outer=definition.home, names=bound)
        for parameter in parameters:
            if parameter.name in bound:
                continue
            if parameter.default is not None:
                bound[parameter.name] = self._def_value(parameter.default, seen, names)
            elif parameter.name not in meant:
                failed = True
                takes = ", ".join(known)
                self.diagnostics.error(call.name_span, f"'{name}' needs '{parameter.name}'", hint=f"it takes {takes}")
        if failed:
            raise Unusable
        return bound, share

    def _def_value(self, expr: s.Expr, scope: Scope, names: ChainNames) -> Value:
        is_step = isinstance(expr, s.Call) and (expr.name in self.layers or scope.find_def(expr.name) is not None)
        if is_step or isinstance(expr, s.Chain):
            return Ref(self.chain(expr, scope, names))
        if isinstance(expr, s.Name) and (found := self.find(expr.id, scope)) is not None:
            return found
        return self.evaluator(scope).value(expr, self.words, refs=True)

    def _shared(self, definition: Definition, share: s.Arg, scope: Scope) -> str:
        """The prefix of the weights of an earlier use. Raises Unusable."""
        name = share.value.id if isinstance(share.value, s.Name) else None
        used = scope.find_use(name) if name is not None else None
        if used is not None and used[0] is definition:
            return used[1]
        if name is not None:
            self.find(name, scope)
        uses = [n for around in scope.chain() for n, (of, _) in around.uses.items() if of is definition]
        of = definition.name
        hint = f"uses of it above: {', '.join(uses)}" if uses else f"name the earlier use: a = {of}(...)"
        self.diagnostics.error(share.value.span, f"share names no earlier use of def '{of}'", hint=hint)
        raise Unusable
