"""Chains: ``x | conv(96) | relu``, their steps taken one by one, arguments split from values."""

from __future__ import annotations

from alexdsl.ir.parameters import REQUIRED, Parameter
from alexdsl.language import syntax as s
from alexdsl.passes.bind.arguments import takes_initialiser
from alexdsl.passes.bind.layers import SEES, LayerCall, add_layer
from alexdsl.passes.bind.names import ChainNames
from alexdsl.passes.bind.net import POISON, Net
from alexdsl.passes.bind.scope import Definition, Scope
from alexdsl.passes.bind.values import BROKEN, Given, Ref, Unusable, check_order


class Chains(Net):
    """Binds chains; defs are used by what builds on it."""

    def chain(self, expr: s.Expr, scope: Scope, names: ChainNames) -> str:
        """The last value of a chain. Raises Unusable where it could not be had; all of its steps are looked at."""
        steps = expr.steps if isinstance(expr, s.Chain) else (expr,)
        value: str | None = None
        for step in steps:
            try:
                value = self._step(step, value, scope, names)
            except Unusable:
                value = POISON
        if value is None or value == POISON:
            raise Unusable
        return value

    def use_def(self, definition: Definition, call: s.Call, flow: str | None, scope: Scope, names: ChainNames) -> str:
        """The value that a def makes. Raises Unusable."""
        raise NotImplementedError

    def _step(self, step: s.Expr, flow: str | None, scope: Scope, names: ChainNames) -> str:
        """The value after one step; ``flow`` is the one before, none for a chain's first step. Raises Unusable."""
        self.spend(step.span)
        if isinstance(step, s.Name):
            found = self.find(step.id, scope)
            if isinstance(found, Ref):
                if flow is not None:
                    hint = "a value can only begin a chain; join values with add(a, b) or concat(a, b)"
                    self.diagnostics.error(step.span, f"'{step.id}' is a value, not a step", hint=hint)
                    raise Unusable
                return found.value
            if step.id == "label":
                return self.label(step.span)
            call = s.Call(step.id, (), span=step.span, name_span=step.span)
        elif isinstance(step, s.Call):
            call = step
        else:
            hint = "for example: x = conv(96) | relu; a number is named by const"
            self.diagnostics.error(step.span, "a chain is made of layers, defs and values", hint=hint)
            raise Unusable
        if call.name in self.layers:
            return self._layer(call, flow, scope, names)
        definition = scope.find_def(call.name)
        if definition is not None:
            return self.use_def(definition, call, flow, scope, names)
        found = self.find(call.name, scope)
        if isinstance(found, Ref):
            self.diagnostics.error(call.span, f"'{call.name}' is a value, and takes no arguments")
        elif found is not None:
            self.number_as_step(step)
        else:
            self.unknown_step(call.name, call.name_span, scope, call=isinstance(step, s.Call) or flow is not None)
        raise Unusable

    def above(self, call: s.Call, scope: Scope) -> str:
        """What a statement continues from. Raises Unusable where there is nothing."""
        if scope.above is None:
            kind = self.layers[call.name][0]
            hint = f"name one: x | {call.name}" if self.ops else "declare an input first: input image [3, 227, 227]"
            if self.ops and (kind.loss or kind.metric):
                hint = f"name the scores: {call.name}(fc8)"
            self.diagnostics.error(call.name_span, f"{call.name} has no value to work on", hint=hint)
            raise Unusable
        return scope.above

    def _layer(self, call: s.Call, flow: str | None, scope: Scope, names: ChainNames) -> str:
        kind, fixed = self.layers[call.name]
        local = names.step(call.name)
        layer = LayerCall(call, kind, fixed, local, names.full(local))
        check_order(call, self.diagnostics)
        values: list[str] = []
        given: dict[str, Given] = {}
        failed = False
        for arg in call.args:
            try:
                self._argument(arg, layer, values, given, scope, names)
            except Unusable:
                failed = True
        self._overrides(layer, given, scope)
        if flow is not None:
            values.insert(0, flow)
        elif not values and not failed:
            try:
                values.append(self.above(call, scope))
            except Unusable:
                values.append(POISON)
        if failed:
            # Its other arguments are looked at all the same; what is missing may have been meant.
            values = [POISON] * (kind.inputs or 2)
            missing = (p.name for p in kind.parameters if p.default is REQUIRED and p.name not in fixed)
            given = {**{name: Given(BROKEN, call.span) for name in missing}, **given}
        return add_layer(self, layer, values, given, scope, names)

    def _argument(
        self, arg: s.Arg, layer: LayerCall, values: list[str], given: dict[str, Given], scope: Scope, names: ChainNames
    ) -> None:
        """Put one argument among the values or the given ones. Raises Unusable where it fits neither."""
        parameters = {p.name: p for p in layer.kind.parameters if p.name not in layer.fixed}
        first = next(iter(parameters.values()), None)
        name = arg.name
        if name is None:
            place = first if first is not None and first.name not in given else None
            if self._is_value(arg.value, scope, place):
                try:
                    values.append(self._value(arg.value, scope, names))
                except Unusable:
                    values.append(POISON)
                return
            if place is None:
                self._no_place(arg, layer, list(parameters.values()))
                raise Unusable
            name = place.name
        elif name in given:
            self.diagnostics.error(arg.name_span or arg.span, f"{layer.call.name} is given '{name}' twice")
            raise Unusable
        words = SEES if name == "sees" else argument_words(parameters[name], self) if name in parameters else ()
        try:
            found = self.leaves.override(f"{layer.step}.{name}", self.evaluator(scope), words)
            if found is None:
                value = self.evaluator(scope).value(arg.value, words, free=name not in parameters and name != "sees")
                found = Given(value, arg.value.span, arg.name_span)
        except Unusable:
            found = Given(BROKEN, arg.value.span, arg.name_span)
        given[name] = found

    def _overrides(self, layer: LayerCall, given: dict[str, Given], scope: Scope) -> None:
        """Arguments that only ``--set`` gives."""
        for parameter in layer.kind.parameters:
            if parameter.name in layer.fixed or parameter.name in given:
                continue
            words = argument_words(parameter, self)
            try:
                found = self.leaves.override(f"{layer.step}.{parameter.name}", self.evaluator(scope), words)
            except Unusable:
                found = Given(BROKEN, layer.call.span)
            if found is not None:
                given[parameter.name] = found

    def _is_value(self, expr: s.Expr, scope: Scope, place: Parameter | None) -> bool:
        """Whether an argument without a name is a value of the net, and not that of the parameter ``place``."""
        if isinstance(expr, s.Chain):
            return True
        if isinstance(expr, s.Call):
            return expr.name in self.layers or scope.find_def(expr.name) is not None or place is None
        if not isinstance(expr, s.Name) or (place is not None and expr.id in argument_words(place, self)):
            return False
        found = scope.lookup(expr.id)
        if found is not None:
            return isinstance(found, Ref)
        is_step = expr.id in self.layers or scope.find_def(expr.id) is not None
        return is_step or expr.id == "label" or (place is None and not expr.id.startswith("data."))

    def _value(self, expr: s.Expr, scope: Scope, names: ChainNames) -> str:
        if isinstance(expr, s.Name) and expr.id not in self.layers and scope.find_def(expr.id) is None:
            found = self.find(expr.id, scope)
            if found is None and expr.id != "label":
                line = scope.line_of(expr.id)
                hint = f"it is defined on line {line}; values are defined above their use" if line else None
                if expr.id == "in":
                    hint = "'in' is the value that comes into a def or repeat, and none comes in here"
                self.evaluator(scope).unknown(expr, hint=hint)
                raise Unusable
        return self.chain(expr, scope, names)

    def _no_place(self, arg: s.Arg, layer: LayerCall, parameters: list[Parameter]) -> None:
        if layer.kind.inputs is None:
            text = " ".join(arg.span.text.split())
            self.diagnostics.error(arg.span, f"{layer.call.name} joins values of the net, and {text} is none")
        else:
            self.arguments.too_many(layer.call.name, parameters, arg.span)


def argument_words(parameter: Parameter, net: Net) -> tuple[str, ...]:
    """The words that a parameter understands before the spec's own names."""
    return (*parameter.type.words, *(net.registry.initialisers if takes_initialiser(parameter) else ()))
