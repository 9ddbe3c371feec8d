"""Binds ``place`` statements: which logical device, or which one per tower, every op goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import suggest
from alexdsl.language.span import Span
from alexdsl.passes.bind.net import NetBinder
from alexdsl.passes.bind.solver import steps_between
from alexdsl.passes.bind.values import Unusable

HOME = "device0"
"""The logical device of a spec that names none."""
AXES = ("tower", "sample", "channel")


def bind_places(statements: Sequence[s.Place], binder: NetBinder) -> tuple[str, ...]:
    """The logical devices in the order in which they are named; ops get a ``place`` attribute. Mistakes are reported."""
    devices: list[str] = []
    placed: dict[str, tuple[tuple[str, ...], Span]] = {}
    general: list[tuple[set[str], tuple[str, ...]]] = []
    for statement in statements:
        try:
            names = _devices(statement.devices, binder)
            devices += [name for name in names if name not in devices]
            steps, is_all = _targets(statement.target, binder)
            _check_axis(statement, names, steps, binder)
        except Unusable:
            continue
        if is_all:
            general.append((steps, names))
            continue
        for step in steps:
            if step in placed:
                earlier = placed[step][1]
                binder.diagnostics.error(statement.span, f"'{step}' is placed twice", f"the first place is on line {earlier.line}")
                break
            placed[step] = (names, statement.span)
    places = {step: names for steps, names in general for step in steps}
    places |= {step: names for step, (names, _) in placed.items()}
    binder.ops = [
        replace(op, attrs={**op.attrs, "place": places[op.layer]}) if op.layer in places and op.kind != "input" else op
        for op in binder.ops
    ]
    return tuple(devices) or (HOME,)


def _devices(expr: s.Expr, binder: NetBinder) -> tuple[str, ...]:
    items = expr.items if isinstance(expr, s.List) else (expr,)
    if any(isinstance(item, s.List) for item in items):
        binder.diagnostics.error(expr.span, "teams of devices are not built yet", hint="place by tower over single devices")
        raise Unusable
    names: list[str] = []
    for item in items:
        if not isinstance(item, s.Name) or "." in item.id:
            binder.diagnostics.error(item.span, "expects the name of a logical device, such as gpu0")
            raise Unusable
        if item.id in names:
            binder.diagnostics.error(item.span, f"device '{item.id}' is named twice")
            raise Unusable
        names.append(item.id)
    return tuple(names)


def _targets(expr: s.Expr, binder: NetBinder) -> tuple[set[str], bool]:
    """The steps that a target means, and whether it is ``all``."""
    if isinstance(expr, s.List):
        found = [_targets(item, binder) for item in expr.items]
        return {step for steps, _ in found for step in steps}, False
    if isinstance(expr, s.Range):
        steps = steps_between(expr, binder.statements)
        text = f"{expr.first}..{expr.last}"
    else:
        assert isinstance(expr, s.Name)
        text = expr.id
        if text == "all":
            return {step for statement in binder.statements for step in statement.steps}, True
        steps = {
            step
            for statement in binder.statements
            for step in statement.steps
            if text in (statement.name, statement.group, step) or step.startswith(f"{text}.")
        }
    if not steps:
        names = [statement.name for statement in binder.statements]
        near = suggest(text, [*names, *binder.groups])
        hint = f"did you mean '{near}'?" if near else "place names, ranges, a group, or all"
        binder.diagnostics.error(expr.span, f"'{text}' names nothing that can be placed", hint=hint)
        raise Unusable
    return steps, False


def _check_axis(statement: s.Place, names: tuple[str, ...], steps: set[str], binder: NetBinder) -> None:
    span = statement.by_span or statement.span
    if statement.by is not None and statement.by not in AXES:
        near = suggest(statement.by, AXES)
        hint = f"did you mean '{near}'?" if near else f"by {', '.join(AXES)}"
        binder.diagnostics.error(span, f"a place goes by tower, sample or channel, not by '{statement.by}'", hint=hint)
        raise Unusable
    if statement.by in ("sample", "channel"):
        binder.diagnostics.error(span, f"placing by {statement.by} is not built yet", hint="place a group by tower, or layers on a device")
        raise Unusable
    if statement.keyword == "on" or len(names) == 1:
        if len(names) > 1:
            binder.diagnostics.error(statement.devices.span, "'on' takes one device; 'over' spreads over several")
            raise Unusable
        return
    counts = {op.attrs.get("towers", 1) for op in binder.ops if op.layer in steps and op.kind not in ("parameter", "state")}
    if counts != {len(names)}:
        outside = 1 in counts
        message = (
            "only a group's layers can be spread by tower, and some of these stand in none"
            if outside
            else f"{max(counts)} towers cannot be spread over {len(names)} devices"
        )
        binder.diagnostics.error(statement.span, message, hint="name one device per tower, or one for all")
        raise Unusable
