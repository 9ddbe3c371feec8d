"""Binds ``place`` statements: which logical device, or which one per tower, every op goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import suggest
from alexdsl.language.span import Span
from alexdsl.passes.bind.net import Net
from alexdsl.passes.bind.scope import Scope
from alexdsl.passes.bind.selection import is_broken, steps_between, steps_named, text_of
from alexdsl.passes.bind.values import Unusable

HOME = "device0"
"""The logical device of a spec that names none."""
AXES = ("tower", "sample", "channel")


def bind_places(statements: Sequence[s.Place], net: Net, scope: Scope) -> tuple[str, ...]:
    """The logical devices as they are first named; ops get a ``place`` attribute. Mistakes are reported."""
    devices: dict[str, None] = {}
    placed: dict[str, tuple[tuple[str, ...], Span]] = {}
    general: tuple[set[str], tuple[str, ...], Span] | None = None
    for statement in statements:
        try:
            names = _devices(statement, net)
            devices |= dict.fromkeys(names)
            _check_axis(statement, net)
            targets = statement.target.items if isinstance(statement.target, s.List) else (statement.target,)
            for target in targets:
                steps = _steps(target, net, scope)
                _check_spread(statement, names, target, net)
                _check_towers(statement, names, steps, net)
                if isinstance(target, s.Name) and target.id == "all":
                    if general is not None:
                        _twice(statement.span, "'all' is", general[2], net)
                        continue
                    general = (steps, names, statement.span)
                    continue
                taken = next((step for step in sorted(steps) if step in placed), None)
                if taken is not None:
                    _twice(target.span, f"'{taken}' is", placed[taken][1], net)
                    continue
                placed |= dict.fromkeys(steps, (names, statement.span))
        except Unusable:
            continue
    places = dict.fromkeys(general[0], general[1]) if general else {}
    places |= {step: names for step, (names, _) in placed.items()}
    net.ops = [
        replace(op, attrs={**op.attrs, "place": places[op.layer]}) if op.layer in places and op.kind != "input" else op
        for op in net.ops
    ]
    return tuple(devices) or (HOME,)


def _twice(span: Span, what: str, earlier: Span, net: Net) -> None:
    net.diagnostics.error(span, f"{what} placed twice", f"the first place is on line {earlier.line}")


def _devices(statement: s.Place, net: Net) -> tuple[str, ...]:
    expr = statement.devices
    items: Sequence[s.Expr] = expr.items if isinstance(expr, s.List) else (expr,)
    names: list[str] = []
    for item in items:
        if isinstance(item, s.List):
            message = "teams of devices, samples over teams and towers within, are not built yet"
            net.diagnostics.error(item.span, message, hint="spread a group's towers over single devices")
            raise Unusable
        if not isinstance(item, s.Name) or "." in item.id:
            net.diagnostics.error(item.span, "the name of a logical device is due here, such as gpu0")
            raise Unusable
        if item.id in names:
            net.diagnostics.error(item.span, f"device '{item.id}' is named twice")
            raise Unusable
        names.append(item.id)
    if statement.keyword == "on" and len(names) > 1:
        net.diagnostics.error(expr.span, f"'on' takes one device, not {len(names)}", hint="'over' spreads over several")
        raise Unusable
    return tuple(names)


def _steps(target: s.Expr, net: Net, scope: Scope) -> set[str]:
    """The steps that a target means. Raises Unusable."""
    if isinstance(target, s.Range):
        return steps_between(target, net, scope)
    assert isinstance(target, s.Name)
    if target.id == "all":
        return {step for statement in net.statements for step in statement.steps}
    steps = steps_named(target.id, net)
    if not steps:
        if not is_broken(target.id, net, scope):
            near = suggest(target.id, [*(statement.name for statement in net.statements), *net.groups, "all"])
            hint = f"did you mean '{near}'?" if near else "place statements by name, ranges of them, a group, or all"
            net.diagnostics.error(target.span, f"'{text_of(target)}' names no layers to place", hint=hint)
        raise Unusable
    return steps


def _check_axis(statement: s.Place, net: Net) -> None:
    span, axis = statement.by_span or statement.span, statement.by
    if axis is not None and axis not in AXES:
        near = suggest(axis, AXES)
        hint = f"did you mean '{near}'?" if near else None
        net.diagnostics.error(span, f"layers are placed by tower, sample or channel, not by '{axis}'", hint=hint)
        raise Unusable
    if axis in ("sample", "channel"):
        hint = "a group's towers can be spread: place tower over gpu0, gpu1"
        net.diagnostics.error(span, f"placing by {axis} is not built yet", hint=hint)
        raise Unusable


def _check_spread(statement: s.Place, names: tuple[str, ...], target: s.Expr, net: Net) -> None:
    is_group = isinstance(target, s.Name) and target.id in net.groups
    if statement.by is None and len(names) > 1 and not is_group:
        message = f"how '{target.span.text}' is spread over {len(names)} devices is not said"
        hint = f"place {statement.target.span.text} by tower over ..."
        net.diagnostics.error(target.span, message, hint=hint)
        raise Unusable


def _check_towers(statement: s.Place, names: tuple[str, ...], steps: set[str], net: Net) -> None:
    if len(names) == 1:
        return
    layers = [op for op in net.ops if op.layer in steps and op.kind not in ("input", "parameter", "state")]
    counts = {op.attrs.get("towers", 1) for op in layers}
    if not counts or counts == {len(names)}:
        return
    grouped = set().union(*net.groups.values())
    outside = next((op.layer for op in layers if op.layer not in grouped), None)
    if outside is not None:
        message = f"only a group's layers can be spread by tower, and '{outside}' stands in none"
        hint = "place it on one device"
    else:
        towers = max(counts)
        message = f"{towers} tower{'s' * (towers > 1)} cannot be spread over {len(names)} devices"
        hint = "name one device per tower, or one for all of them"
    net.diagnostics.error(statement.devices.span if outside is None else statement.target.span, message, hint=hint)
    raise Unusable
