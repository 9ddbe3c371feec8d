"""A layer's call, its values and arguments known, becomes an op with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alexdsl.ir.graph import Attr
from alexdsl.ir.parameters import Optional
from alexdsl.ir.protocol import LayerKind
from alexdsl.language import syntax as s
from alexdsl.passes.bind.names import ChainNames
from alexdsl.passes.bind.net import POISON, Net
from alexdsl.passes.bind.scope import Scope
from alexdsl.passes.bind.values import BROKEN, Given, Unusable, show_given

SEES = ("own", "all")


@dataclass(frozen=True)
class LayerCall:
    """A layer's call with what is known about it: its kind, the arguments its alias stands for, its step's name."""

    call: s.Call
    kind: LayerKind
    fixed: Mapping[str, Attr]
    local: str
    step: str


def add_layer(
    net: Net, layer: LayerCall, values: list[str], given: Mapping[str, Given], scope: Scope, names: ChainNames
) -> str:
    """Append the op; the value that it makes. Raises Unusable."""
    call, kind = layer.call, layer.kind
    parameters = [p for p in kind.parameters if p.name not in layer.fixed]
    extra = ("sees",) if kind.sees else ()
    defaults = scope.defaults_for(call.name)
    operands: list[str] = []
    checked: dict[str, Attr] = {}
    failed = False
    try:
        checked = net.arguments.bind(call.name, parameters, given, defaults, call.name_span, extra)
    except Unusable:
        failed = True
    try:
        operands = _inputs(net, kind, values, call)
    except Unusable:
        failed = True
    group = _group_attrs(net, layer, values, given.get("sees"), scope)
    if failed or POISON in operands:
        raise Unusable
    attrs = {p.name: checked[p.name] if p.name in checked else layer.fixed[p.name] for p in kind.parameters}
    attrs |= group
    operands = [*operands, *_weights(net, layer, attrs, names)]
    if kind.random:
        operands.append(net.step_number())
        attrs |= {"seed": net.seed, "stream": layer.step}
    value = net.append(kind.name, tuple(operands), layer.step, attrs, layer.step, call.name_span)
    if scope.towers:
        scope.towers.inside.add(value)
        net.groups[scope.towers.name].add(layer.step)
    names.made(layer.local, value)
    return value


def _inputs(net: Net, kind: LayerKind, values: list[str], call: s.Call) -> list[str]:
    """The values that flow in, the labels added where a loss or metric is not given them."""
    labelled = kind.loss or kind.metric
    wanted = None if kind.inputs is None else kind.inputs + labelled
    if labelled and wanted is not None and len(values) == wanted - 1:
        values = [*values, net.label(call.name_span)]
    if wanted is None and len(values) < 2:
        hint = f"for example: {call.name}(a, b), or x | {call.name}(in)"
        net.diagnostics.error(
            call.span, f"{call.name} joins two or more values, and gets {len(values) or 'none'}", hint=hint
        )
        raise Unusable
    if wanted is not None and len(values) != wanted:
        what = f"{wanted - 1} value and the label" if labelled else f"{wanted} value{'s' * (wanted > 1)}"
        join = "join values with add(a, b) or concat(a, b)" if len(values) > wanted else None
        net.diagnostics.error(call.span, f"{call.name} takes {what}, and gets {len(values)}", hint=join)
        raise Unusable
    return list(values)


def _group_attrs(net: Net, layer: LayerCall, inputs: list[str], sees: Given | None, scope: Scope) -> dict[str, Attr]:
    """``towers`` and ``sees`` for a layer inside a group. Raises Unusable."""
    towers = scope.towers
    name = layer.call.name
    if sees is not None and sees.value is BROKEN:
        raise Unusable
    if sees is not None and sees.value not in SEES:
        net.diagnostics.error(sees.span, f"sees of {name} expects own or all, not {show_given(sees)}")
        raise Unusable
    if towers is None:
        if sees is not None:
            net.diagnostics.error(sees.span, f"sees says nothing here: {name} stands in no group", hint="leave it out")
        return {}
    if layer.kind.loss or layer.kind.metric:
        hint = "losses and metrics stay outside of groups"
        net.diagnostics.error(layer.call.span, f"{name} stands inside group '{towers.name}'", hint=hint)
        raise Unusable
    if towers.count == 1:
        return {}
    inside = any(value in towers.inside for value in inputs)
    if sees is not None and not inside and POISON not in inputs:
        message = f"sees says nothing here: what flows into {name} comes from outside of '{towers.name}'"
        net.diagnostics.error(sees.span, message, "values from outside of a group are seen whole", hint="leave it out")
    if not layer.kind.sees:
        return {"towers": towers.count}
    return {"towers": towers.count, "sees": "all" if not inside else sees.value if sees is not None else "own"}


def _weights(net: Net, layer: LayerCall, attrs: dict[str, Attr], names: ChainNames) -> list[str]:
    """Parameters and state of a layer, made now or shared with an earlier use."""
    kind, call = layer.kind, layer.call
    starts = {role: attrs.pop(role) for role in kind.weight_roles}
    for parameter in kind.parameters:
        if parameter.name in starts and isinstance(parameter.type, Optional):
            attrs[parameter.name] = starts[parameter.name] is not None
    roles = [role for role, start in starts.items() if start is not None]
    if not roles and not kind.state_roles:
        return []
    owner = names.owner(layer.local)
    found = []
    for role in (*roles, *kind.state_roles):
        name = f"{owner}.{role}"
        if name not in net.parameters:
            state = role in kind.state_roles
            init = {"kind": "constant", "value": kind.state_roles[role]} if state else starts[role]
            leaf = {"role": role, "of_kind": call.name, "init": init}
            net.append("state" if state else "parameter", (), name, leaf, layer.step, call.name_span)
            net.parameters[name] = net.ops[-1]
        found.append(name)
    return found
