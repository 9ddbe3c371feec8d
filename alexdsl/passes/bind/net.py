"""Expands and binds the statements that make the net: chains, defs, repeats, groups, defaults -> ops in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alexdsl.ir.graph import Attr, Op, Result
from alexdsl.ir.parameters import Optional, whole
from alexdsl.ir.protocol import LayerKind, Registry
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostics, suggest
from alexdsl.language.span import Span
from alexdsl.passes.bind.arguments import Arguments, Given, takes_initialiser
from alexdsl.passes.bind.leaves import Leaves
from alexdsl.passes.bind.scope import Ref, Scope, Towers
from alexdsl.passes.bind.values import Evaluator, Unusable, Value

MOST_OPS = 100_000
DEEPEST = 64


@dataclass
class Statement:
    """A top-level statement that made ops: its name, group, and the steps in order; ``place`` and ``solver`` select by it."""

    name: str
    group: str | None
    steps: list[str] = field(default_factory=list)


@dataclass
class NetBinder:
    """Appends ops for statements. Every mistake is reported; what cannot be had is left out, and later errors that only
    follow from it are not reported again."""

    registry: Registry
    diagnostics: Diagnostics
    arguments: Arguments
    leaves: Leaves
    seed: int
    ops: list[Op] = field(default_factory=list)
    spans: dict[str, Span] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, Op] = field(default_factory=dict)
    poisoned: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    using: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers: dict[str, tuple[LayerKind, dict[str, Attr]]] = {}
        for name, kind in self.registry.layers.items():
            self.layers[name] = (kind, {})
            self.layers |= {alias: (kind, dict(attrs)) for alias, attrs in kind.aliases.items()}
        self.words = {w for kind, _ in self.layers.values() for p in kind.parameters for w in p.type.words}

    # --- statements

    def block(self, statements: Sequence[s.Stmt], scope: Scope) -> None:
        """Bind a block's statements in order; its defaults hold for all of it, its defs from where they stand."""
        frame: dict[tuple[str, str], Given] = {}
        for statement in statements:
            if isinstance(statement, s.Default):
                frame |= self._defaults(statement, scope)
        scope.defaults.append(frame)
        for statement in statements:
            if len(self.ops) > MOST_OPS:
                self.diagnostics.error(statement.span, f"the spec expands to more than {MOST_OPS:,} ops")
                raise Unusable
            self._statement(statement, scope)
        scope.defaults.pop()

    def _statement(self, statement: s.Stmt, scope: Scope) -> None:
        if isinstance(statement, s.Input):
            self._input(statement, scope)
        elif isinstance(statement, s.Const):
            self._const(statement, scope)
        elif isinstance(statement, s.Def):
            if self._free(statement.name, statement.name_span, scope):
                scope.defs[statement.name] = statement
        elif isinstance(statement, s.Assign | s.ChainStatement):
            self._chain_statement(statement, scope)
        elif isinstance(statement, s.RepeatStatement):
            self._repeat(statement, scope)
        elif isinstance(statement, s.Group):
            self._group(statement, scope)
        elif scope.outer is not None or scope.towers is not None:
            if not isinstance(statement, s.Default):
                word = type(statement).__name__.lower()
                self.diagnostics.error(statement.span, f"'{word}' stands at the top of a spec, not inside a block")

    def _input(self, statement: s.Input, scope: Scope) -> None:
        if scope.outer is not None or scope.towers is not None:
            self.diagnostics.error(statement.span, "'input' stands at the top of a spec, not inside a block")
            return
        if not self._free(statement.name, statement.name_span, scope):
            return
        try:
            shape = self.evaluator(scope).value(statement.shape)
            sizes = tuple(whole(v) for v in shape)
            if any(n is None or n < 1 for n in sizes):
                self.diagnostics.error(statement.shape.span, "an input's shape is a list of whole numbers of at least 1")
                raise Unusable
        except Unusable:
            self._poison(statement.name, scope)
            return
        attrs = {"field": statement.name, "shape": sizes}
        name = self._append("input", (), [statement.name], attrs, statement.name, statement.span)
        scope.names[statement.name] = Ref(name)
        scope.above = name

    def _const(self, statement: s.Const, scope: Scope) -> None:
        if not self._free(statement.name, statement.name_span, scope):
            return
        try:
            value = self.leaves.override(statement.name, self.evaluator(scope))
            scope.names[statement.name] = self.evaluator(scope).value(statement.value) if value is None else value
        except Unusable:
            self._poison(statement.name, scope)

    def _chain_statement(self, statement: s.Assign | s.ChainStatement, scope: Scope) -> None:
        name = statement.name if isinstance(statement, s.Assign) else None
        if name is not None and isinstance(statement, s.Assign) and not self._free(name, statement.name_span, scope):
            return
        at = len(self.ops)
        try:
            scope.above = self.chain(statement.value, scope, name)
        except Unusable:
            scope.above = self._poison(name or "?", scope)
        if name is not None:
            scope.names[name] = Ref(scope.above)
        self._record(name, at, scope)

    def _record(self, name: str | None, at: int, scope: Scope) -> None:
        made = list(dict.fromkeys(op.layer for op in self.ops[at:] if op.layer))
        if scope.outer is None and made:
            group = scope.towers.name if scope.towers else None
            self.statements.append(Statement(name or made[0], group, made))

    def _repeat(self, statement: s.RepeatStatement, scope: Scope) -> None:
        if statement.name is not None and statement.name_span is not None:
            if not self._free(statement.name, statement.name_span, scope):
                return
        name = scope.unique(statement.name or "repeat")
        at = len(self.ops)
        try:
            count = whole(self.evaluator(scope).value(statement.count))
            if count is None or count < 1:
                self.diagnostics.error(statement.count.span, "repeat takes a whole number of at least 1")
                raise Unusable
            for turn in range(1, count + 1):
                inner = self._inner(scope, f"{name}.{turn}", f"{name}.{turn}", scope.above)
                self.block(statement.body, inner)
                scope.above = inner.above
        except Unusable:
            if len(self.ops) > MOST_OPS:
                raise
            scope.above = self._poison(name, scope)
        if statement.name is not None and scope.above is not None:
            scope.names[statement.name] = Ref(scope.above)
        self._record(name, at, scope)

    def _group(self, statement: s.Group, scope: Scope) -> None:
        if scope.towers is not None:
            self.diagnostics.error(statement.span, f"groups do not nest, and this one stands inside '{scope.towers.name}'")
            return
        if not self._free(statement.name, statement.name_span, scope):
            return
        try:
            count = whole(self.evaluator(scope).value(statement.towers))
        except Unusable:
            return
        if count is None or not 1 <= count <= 1024:
            self.diagnostics.error(statement.towers.span, "a group has a whole number of towers, at least 1")
            return
        self.groups[statement.name] = count
        scope.taken.add(statement.name)
        scope.towers = Towers(statement.name, count)
        self.block(statement.body, scope)
        scope.towers = None

    def _defaults(self, statement: s.Default, scope: Scope) -> dict[tuple[str, str], Given]:
        frame: dict[tuple[str, str], Given] = {}
        spans = statement.kind_spans or (statement.span,) * len(statement.kinds)
        for kind_name, span in zip(statement.kinds, spans, strict=True):
            if kind_name not in self.layers:
                self._unknown_step(kind_name, span, scope)
                continue
            kind, fixed = self.layers[kind_name]
            parameters = {p.name: p for p in kind.parameters if p.name not in fixed}
            for setting in statement.settings:
                if setting.name not in parameters:
                    self.arguments.unknown(kind_name, setting.name, list(parameters), setting.name_span)
                    continue
                try:
                    parameter = parameters[setting.name]
                    words = (*parameter.type.words, *(self.registry.initialisers if takes_initialiser(parameter) else ()))
                    given = Given(self.evaluator(scope).value(setting.value, words), setting.value.span)
                    self.arguments.accept(parameter, given, kind_name)
                    frame[kind_name, setting.name] = given
                except Unusable:
                    continue
        return frame

    # --- chains

    def chain(self, expr: s.Expr, scope: Scope, name: str | None) -> str:
        """The last value of a chain, whose ops are named after ``name``. Raises Unusable."""
        steps = expr.steps if isinstance(expr, s.Chain) else (expr,)
        inner = ChainNames(self, scope, name)
        value: str | None = None
        for position, step in enumerate(steps):
            value = self._step(step, value, position == 0, scope, inner)
        assert value is not None
        return value

    def _step(self, step: s.Expr, flow: str | None, first: bool, scope: Scope, names: ChainNames) -> str:
        if isinstance(step, s.Name):
            found = scope.lookup(step.id)
            if isinstance(found, Ref):
                if not first:
                    hint = "a value can only begin a chain; join values with add(a, b) or concat(a, b)"
                    self.diagnostics.error(step.span, f"'{step.id}' is a value, not a step", hint=hint)
                    raise Unusable
                return self._use(found.value)
            return self._call(s.Call(step.id, (), span=step.span, name_span=step.span), flow, first, scope, names)
        if isinstance(step, s.Call):
            return self._call(step, flow, first, scope, names)
        self.diagnostics.error(step.span, "a chain is made of layers, defs and values", hint="for example: conv(96) | relu")
        raise Unusable

    def _call(self, call: s.Call, flow: str | None, first: bool, scope: Scope, names: ChainNames) -> str:
        if call.name in self.layers:
            return self._layer(call, flow, first, scope, names)
        definition = scope.find_def(call.name)
        if definition is None and call.name == "label":
            return self._use(self._label(call.span))
        if definition is None:
            self._unknown_step(call.name, call.name_span, scope)
            raise Unusable
        return self._use_def(definition, call, flow, first, scope, names)

    def _layer(self, call: s.Call, flow: str | None, first: bool, scope: Scope, names: ChainNames) -> str:
        kind, fixed = self.layers[call.name]
        step = names.step(call.name)
        values, given = self._split(call, scope, step)
        failed = values is None or given is None
        if values is not None and (not first or not values):
            if first and scope.above is None:
                hint = "define an input first, or name a value: input image [3, 227, 227]"
                self.diagnostics.error(call.span, f"{call.name} has no value to work on", hint=hint)
                raise Unusable
            values = [flow if not first and flow is not None else self._use(scope.above or ""), *values]
        defaults = scope.defaults_for(call.name)
        parameters = [p for p in kind.parameters if p.name not in fixed]
        extra = ("sees",) if kind.sees else ()
        try:
            checked = self.arguments.bind(call.name, parameters, given or {}, defaults, call.span, extra)
        except Unusable:
            failed = True
        if failed or values is None or given is None:
            raise Unusable
        operands = self._inputs(kind, values, call)
        if any(value in self.poisoned for value in operands):
            raise Unusable
        attrs = {p.name: checked[p.name] if p.name in checked else fixed[p.name] for p in kind.parameters}
        self._group_attrs(kind, attrs, operands, given.get("sees"), call, scope)
        operands += self._weights(kind, call, attrs, given, defaults, scope, names, step)
        if kind.random:
            operands.append(self._step_number())
            attrs |= {"seed": self.seed, "stream": step}
        results = [step]
        name = self._append(kind.name, tuple(operands), results, attrs, step, call.span)
        if scope.towers:
            scope.towers.inside.add(name)
        names.made(call.name, name)
        return name

    def _split(
        self, call: s.Call, scope: Scope, step: str
    ) -> tuple[list[str] | None, dict[str, Given] | None]:
        """A call's value arguments and its other arguments; none for either where a mistake was reported."""
        kind, fixed = self.layers[call.name]
        open_parameters = [p for p in kind.parameters if p.name not in fixed]
        values: list[str] | None = []
        given: dict[str, Given] | None = {}
        for arg in call.args:
            try:
                if arg.name is None and self._is_value(arg.value, scope, open_parameters[0].type.words if open_parameters else ()):
                    value = self.chain(arg.value, scope, None) if not isinstance(arg.value, s.Name) else self._value(arg.value, scope)
                    if values is not None:
                        values.append(value)
                    continue
                name = arg.name
                if name is None:
                    if not open_parameters or (given is not None and open_parameters[0].name in given):
                        self.arguments.too_many(call.name, open_parameters, arg.span)
                        raise Unusable
                    name = open_parameters[0].name
                elif given is not None and name in given:
                    self.diagnostics.error(arg.span, f"{call.name} is given '{name}' twice")
                    raise Unusable
                parameter = next((p for p in open_parameters if p.name == name), None)
                words = ("own", "all") if name == "sees" else parameter.type.words if parameter else ()
                if parameter and takes_initialiser(parameter):
                    words = (*words, *self.registry.initialisers)
                overridden = self.leaves.override(f"{step}.{name}", self.evaluator(scope), words)
                value_of = self.evaluator(scope).value(arg.value, words) if overridden is None else overridden
                if given is not None:
                    given[name] = Given(value_of, arg.value.span)
            except Unusable:
                values, given = (None, given) if arg.name is None else (values, None)
        for parameter in open_parameters:
            if given is not None and parameter.name not in given:
                words = (*parameter.type.words, *(self.registry.initialisers if takes_initialiser(parameter) else ()))
                overridden = self.leaves.override(f"{step}.{parameter.name}", self.evaluator(scope), words)
                if overridden is not None:
                    given[parameter.name] = Given(overridden, call.span)
        return values, given

    def _is_value(self, expr: s.Expr, scope: Scope, words: Iterable[str]) -> bool:
        if isinstance(expr, s.Chain):
            return True
        if isinstance(expr, s.Call):
            return expr.name in self.layers or scope.find_def(expr.name) is not None
        if not isinstance(expr, s.Name) or expr.id in words:
            return False
        found = scope.lookup(expr.id)
        return isinstance(found, Ref) or expr.id == "label" or (found is None and expr.id not in self.words and self.leaves.get(expr.id) is None)

    def _value(self, name: s.Name, scope: Scope) -> str:
        found = scope.lookup(name.id)
        if isinstance(found, Ref):
            return self._use(found.value)
        if name.id == "label":
            return self._use(self._label(name.span))
        near = suggest(name.id, [n for n in scope.visible() if isinstance(scope.lookup(n), Ref)])
        hint = f"did you mean '{near}'?" if near else "values are defined above their use"
        self.diagnostics.error(name.span, f"there is no value '{name.id}'", hint=hint)
        raise Unusable

    def _inputs(self, kind: LayerKind, values: list[str], call: s.Call) -> list[str]:
        labelled = kind.loss or kind.metric
        wanted = None if kind.inputs is None else kind.inputs + labelled
        if labelled and wanted is not None and len(values) == wanted - 1:
            values = [*values, self._use(self._label(call.span))]
        if wanted is None and len(values) < 2:
            hint = f"for example: {call.name}(a, b), or x | {call.name}(in)"
            self.diagnostics.error(call.span, f"{call.name} joins two or more values, and gets {len(values)}", hint=hint)
            raise Unusable
        if wanted is not None and len(values) != wanted:
            self.diagnostics.error(call.span, f"{call.name} takes {wanted} value{'s' * (wanted > 1)}, and gets {len(values)}")
            raise Unusable
        return list(values)

    def _group_attrs(
        self, kind: LayerKind, attrs: dict[str, Attr], inputs: list[str], sees: Given | None, call: s.Call, scope: Scope
    ) -> None:
        """``towers`` and ``sees`` for a layer inside a group."""
        towers = scope.towers
        if towers is None:
            if sees is not None:
                self.diagnostics.error(sees.span, f"sees says nothing here: {call.name} stands in no group", hint="leave it out")
            return
        if kind.loss or kind.metric:
            self.diagnostics.error(call.span, f"{call.name} stands inside group '{towers.name}'", hint="losses and metrics stay outside of groups")
            raise Unusable
        inside = any(value in towers.inside for value in inputs)
        if sees is not None and not inside:
            self.diagnostics.error(
                sees.span, f"sees says nothing here: what flows into {call.name} comes from outside '{towers.name}', and is seen whole", hint="leave it out"
            )
        if towers.count > 1:
            attrs["towers"] = towers.count
            if kind.sees:
                attrs["sees"] = sees.value if sees is not None and inside else "own" if inside else "all"

    def _weights(
        self, kind: LayerKind, call: s.Call, attrs: dict[str, Attr], given: dict[str, Given],
        defaults: dict[str, Given], scope: Scope, names: ChainNames, step: str,
    ) -> list[str]:  # fmt: skip
        """Parameters and state of a layer, made now or shared with an earlier use."""
        starts = {role: attrs.pop(role) for role in kind.weight_roles}
        for parameter in kind.parameters:
            if parameter.name in starts and isinstance(parameter.type, Optional):
                attrs[parameter.name] = starts[parameter.name] is not None
        roles = [role for role, start in starts.items() if start is not None]
        if not roles and not kind.state_roles:
            return []
        owner = names.owner(step)
        found = []
        for role in (*roles, *kind.state_roles):
            name = f"{owner}.{role}"
            if name not in self.parameters:
                state = role in kind.state_roles
                init = {"kind": "constant", "value": kind.state_roles[role]} if state else starts[role]
                self._append("state" if state else "parameter", (), [name], {"role": role, "of_kind": call.name, "init": init}, step, call.span)
                self.parameters[name] = self.ops[-1]
            found.append(name)
        return found

    # --- defs

    def _use_def(self, definition: s.Def, call: s.Call, flow: str | None, first: bool, scope: Scope, names: ChainNames) -> str:
        if definition.name in self.using:
            self.diagnostics.error(call.span, f"def '{definition.name}' uses itself: {' -> '.join((*self.using, definition.name))}")
            raise Unusable
        if len(self.using) >= DEEPEST:
            self.diagnostics.error(call.span, f"defs use each other more than {DEEPEST} deep")
            raise Unusable
        bound, share = self._def_arguments(definition, call, scope)
        step = names.step(definition.name)
        weights = names.weights_of(definition.name)
        if share is not None:
            weights = self._shared(definition, share, scope)
        elif names.name is not None:
            scope.used_defs.setdefault(names.name, (definition.name, weights))
        value = flow if not first and flow is not None else scope.above
        inner = self._inner(scope, step, weights, value, absolute=True)
        inner.names |= bound
        inner.outer = self._home(scope)
        self.using.append(definition.name)
        try:
            self.block(definition.body, inner)
        finally:
            self.using.pop()
        if inner.above is None:
            self.diagnostics.error(call.span, f"def '{definition.name}' makes no value")
            raise Unusable
        if inner.above in self.poisoned:
            raise Unusable
        return inner.above

    @staticmethod
    def _home(scope: Scope) -> Scope:
        """The file's scope, in which defs see constants and other defs, but no local names of their users."""
        while scope.outer is not None:
            scope = scope.outer
        return scope

    def _def_arguments(self, definition: s.Def, call: s.Call, scope: Scope) -> tuple[dict[str, Value], s.Arg | None]:
        bound: dict[str, Value] = {}
        share: s.Arg | None = None
        failed = False
        positional = iter(definition.params)
        known = {p.name: p for p in definition.params}
        for arg in call.args:
            if arg.name == "share":
                share = arg
                continue
            parameter = known.get(arg.name) if arg.name is not None else next(positional, None)
            if parameter is None:
                if arg.name is None:
                    self.diagnostics.error(arg.span, f"'{call.name}' takes {len(known)} arguments")
                else:
                    self.arguments.unknown(call.name, arg.name, [*known, "share"], arg.span)
                failed = True
            elif parameter.name in bound:
                self.diagnostics.error(arg.span, f"'{call.name}' is given '{parameter.name}' twice")
                failed = True
            else:
                try:
                    bound[parameter.name] = self._def_value(arg.value, scope)
                except Unusable:
                    failed = True
        for parameter in definition.params:
            if parameter.name not in bound and not failed:
                if parameter.default is None:
                    self.diagnostics.error(call.span, f"'{call.name}' needs '{parameter.name}'")
                    failed = True
                else:
                    bound[parameter.name] = self._def_value(parameter.default, self._home(scope))
        if failed:
            raise Unusable
        return bound, share

    def _def_value(self, expr: s.Expr, scope: Scope) -> Value:
        if isinstance(expr, s.Chain) or (isinstance(expr, s.Call) and self._is_value(expr, scope, ())):
            return Ref(self.chain(expr, scope, None))
        value = self.evaluator(scope).value(expr, (*self.words, *self.registry.initialisers))
        return Ref(self._use(value.value)) if isinstance(value, Ref) else value

    def _shared(self, definition: s.Def, share: s.Arg, scope: Scope) -> str:
        name = share.value.id if isinstance(share.value, s.Name) else None
        used = scope.used_defs.get(name) if name is not None else None
        if used is None or used[0] != definition.name:
            uses = [n for n, (of, _) in scope.used_defs.items() if of == definition.name]
            hint = f"uses of it above: {', '.join(uses)}" if uses else "name the earlier use: a = " + definition.name + "(...)"
            self.diagnostics.error(share.span, f"share names no earlier use of def '{definition.name}'", hint=hint)
            raise Unusable
        return used[1]

    def _inner(self, scope: Scope, prefix: str, weights: str, value: str | None, *, absolute: bool = False) -> Scope:
        """A scope inside another; ``in`` is the value that comes in."""
        join = (lambda of, name: name) if absolute else (lambda of, name: f"{of}.{name}" if of else name)
        inner = Scope(join(scope.prefix, prefix), join(scope.weights, weights), scope, value, scope.towers)
        inner.defaults = list(scope.defaults)
        if value is not None:
            inner.names["in"] = Ref(value)
        return inner

    # --- small things

    def evaluator(self, scope: Scope) -> Evaluator:
        """Evaluates expressions under the scope's names and the spec's leaves."""

        def lookup(name: str) -> Value | None:
            found = scope.lookup(name)
            return found if found is not None else self.leaves.get(name)

        return Evaluator(self.diagnostics, lookup, lambda: [*scope.visible(), *self.leaves.names()])

    def _free(self, name: str, span: Span, scope: Scope) -> bool:
        """Whether a new name may be used here; if not, why not is reported."""
        if name in self.layers:
            self.diagnostics.error(span, f"'{name}' is a layer kind and cannot name anything else")
        elif "." in name:
            self.diagnostics.error(span, f"a new name has no dots: '{name}'")
        elif name in scope.names or name in scope.defs or name in self.groups:
            self.diagnostics.error(span, f"'{name}' is defined twice", hint="choose another name")
        else:
            return True
        return False

    def _append(self, kind: str, operands: tuple[str, ...], results: list[str], attrs: dict[str, Attr], layer: str, span: Span) -> str:
        location = str(span)
        self.spans.setdefault(location, span)
        self.ops.append(Op(kind, operands, tuple(Result(name) for name in results), attrs, None, layer, location))
        return results[0]

    def _label(self, span: Span) -> str:
        if not any(op.name == "label" for op in self.ops):
            self._append("input", (), ["label"], {"field": "label"}, "label", span)
        return "label"

    def _step_number(self) -> str:
        if not any(op.name == "step" for op in self.ops):
            self.ops.append(Op("input", (), (Result("step"),), {"field": "step"}))
        return "step"

    def _use(self, value: str) -> str:
        if value in self.poisoned:
            raise Unusable
        self.used.add(value)
        return value

    def _poison(self, name: str, scope: Scope) -> str:
        value = f"?{name}"
        self.poisoned.add(value)
        scope.names.setdefault(name, Ref(value))
        return value

    def _unknown_step(self, name: str, span: Span, scope: Scope) -> None:
        defs = [n for n in scope.visible() if scope.find_def(n)]
        near = suggest(name, [*self.layers, *defs])
        hint = f"did you mean '{near}'?" if near else "'alexdsl layers' lists the layer kinds"
        self.diagnostics.error(span, f"unknown layer kind '{name}'", hint=hint)


@dataclass
class ChainNames:
    """Names the steps of one chain: ``conv1.conv``, ``conv1.relu``, a second of a kind ``conv1.conv_2``."""

    binder: NetBinder
    scope: Scope
    name: str | None
    taken: set[str] = field(default_factory=set)
    owned: bool = False
    last: str = ""

    def _base(self, prefix: str) -> str:
        parts = [part for part in (prefix, self.name) if part]
        return ".".join(parts)

    def step(self, kind: str) -> str:
        """The full name of the next step of this kind."""
        if self.name is None:
            local = self.scope.unique(kind)
        else:
            count, local = 1, kind
            while local in self.taken:
                count += 1
                local = f"{kind}_{count}"
            self.taken.add(local)
        self.last = local
        base = self._base(self.scope.prefix)
        return f"{base}.{local}" if base else local

    def owner(self, step: str) -> str:
        """What a step's weights are named after: the statement for its first layer with weights, else the step."""
        base = self._base(self.scope.weights)
        if self.name is not None and not self.owned:
            self.owned = True
            return base
        return f"{base}.{self.last}" if base else self.last

    def weights_of(self, definition: str) -> str:
        """The prefix of the weights that the def step just named makes."""
        base = self._base(self.scope.weights)
        return f"{base}.{self.last}" if base else self.last

    def made(self, kind: str, value: str) -> None:
        """Let later statements refer to the step: ``conv1.relu``."""
        if self.name is not None:
            self.scope.names[f"{self.name}.{self.last}"] = Ref(value)
