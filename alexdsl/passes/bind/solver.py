"""Binds the ``solver`` block: its settings, its schedule, and the rates of every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt

from alexdsl.ir.graph import Attr, Attrs, Op
from alexdsl.ir.parameters import REQUIRED, Choice, Factor, Optional, Parameter, Real, Whole
from alexdsl.ir.protocol import LayerKind, SolverKind
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import suggest
from alexdsl.language.span import Span
from alexdsl.passes.bind.net import Net
from alexdsl.passes.bind.scope import Scope
from alexdsl.passes.bind.selection import is_broken, steps_between, text_of
from alexdsl.passes.bind.values import BROKEN, Given, Tree, Unusable, show_given

COMMON = (
    Parameter("epochs", Optional(Whole(1)), None, "how often training sees every image"),
    Parameter("steps", Optional(Whole(1)), None, "how many steps training takes, in place of epochs"),
    Parameter("warmup", Whole(0), 0, "steps in which the learning rate rises evenly to its own"),
    Parameter("validate", Optional(Whole(1)), None, "steps between validations; none for every epoch"),
    Parameter("slices", Whole(1), 1, "parts that a batch is cut into to save memory"),
    Parameter(
        "precision", Choice(("fp32", "bf16")), "fp32", "what products are computed in; sums and weights stay fp32"
    ),
    Parameter("clip", Optional(Real(0)), None, "the most that the global norm of all gradients may be"),
)


@dataclass(frozen=True)
class SolverSettings:
    """How the net is trained: the solver's kind and numbers, how long, and its schedule as (kind, attributes)."""

    kind: str = "sgd"
    attrs: Attrs = field(default_factory=dict)
    epochs: int | None = None
    steps: int | None = None
    warmup: int = 0
    validate: int | None = None
    slices: int = 1
    precision: str = "fp32"
    clip: float | None = None
    schedule: tuple[str, Attrs] = ("constant", {})


def bind_solver(
    statement: s.Solver | None, net: Net, scope: Scope, metrics: Mapping[str, bool], batch: int | None
) -> SolverSettings:
    """The settings; every parameter op gets its rates as attributes. Mistakes are reported.

    ``metrics`` are what a schedule may watch, and whether more of it is better; ``batch`` counts images, if known.
    """
    registry = net.registry
    if statement is None:
        kind = registry.solvers["sgd"]
        _set_rates(net, kind, {p.name: p.default for p in kind.parameters if p.default is not REQUIRED}, ())
        return SolverSettings()
    if statement.kind not in registry.solvers:
        near = suggest(statement.kind, registry.solvers)
        hint = f"did you mean '{near}'?" if near else f"solvers: {', '.join(registry.solvers)}"
        net.diagnostics.error(statement.kind_span, f"unknown solver '{statement.kind}'", hint=hint)
        return SolverSettings()
    kind = registry.solvers[statement.kind]
    given = _settings(statement, kind, net, scope)
    schedule = _schedule(given.pop("schedule", None), net, metrics)
    changes = _block_changes(statement, kind, net, scope)
    try:
        parameters = (*kind.parameters, *COMMON)
        bound = net.arguments.bind(kind.name, parameters, given, {}, statement.kind_span, ("schedule",))
    except Unusable:
        return SolverSettings()
    attrs = {p.name: bound[p.name] for p in kind.parameters}
    if bound["slices"] > 1:
        _check_slices(bound["slices"], given["slices"].span, net, batch)
    if bound["epochs"] and bound["steps"]:
        net.diagnostics.error(given["steps"].span, "a solver has epochs or steps, not both")
    _set_rates(net, kind, attrs, changes)
    return SolverSettings(statement.kind, attrs, schedule=schedule, **{p.name: bound[p.name] for p in COMMON})


def _check_slices(slices: int, span: Span, net: Net, batch: int | None) -> None:
    """Slices are equal parts of the batch, and no layer may look beyond its own."""
    if batch is not None and batch % slices:
        small = [n for n in range(1, isqrt(batch) + 1) if batch % n == 0]
        near = max(n for n in (*small, *(batch // n for n in small)) if n < slices)
        hint = f"{near} does" if near > 1 else "a batch that it divides"
        net.diagnostics.error(span, f"slices = {slices} does not divide the batch of {batch}", hint=hint)
    for op in net.ops:
        kind = net.registry[op.kind]
        if isinstance(kind, LayerKind) and kind.whole_batch(op.attrs):
            note = f"{op.layer} is a {op.kind} on line {net.spans[op.location].line}"
            message = f"slices = {slices} would change what {op.kind} computes, which looks at the whole batch"
            net.diagnostics.error(span, message, note, hint="slices = 1 with a smaller batch")
            return


def _settings(statement: s.Solver, kind: SolverKind, net: Net, scope: Scope) -> dict[str, Given]:
    """The settings as evaluated, BROKEN where one could not be had."""
    evaluator = net.evaluator(scope)
    words = {p.name: p.type.words for p in (*kind.parameters, *COMMON)}
    given: dict[str, Given] = {}
    overridden: set[str] = set()
    values = {setting.name: setting for setting in reversed(statement.settings)}
    for setting in statement.settings:
        if values[setting.name] is not setting:
            net.diagnostics.error(setting.name_span, f"the solver has two settings '{setting.name}'")
    for name in (*values, *(name for name in (*words, "schedule") if name not in values)):
        free = name not in words
        try:
            found = net.leaves.override(f"solver.{name}", evaluator, words.get(name, ()), free=free)
            if found is not None:
                overridden.add(name)
                given[name] = found
            elif name in values:
                setting = values[name]
                value = evaluator.value(setting.value, words.get(name, ()), free=free)
                given[name] = Given(value, setting.value.span, setting.name_span)
        except Unusable:
            given[name] = Given(BROKEN, statement.span)
    # Of epochs and steps the one given by --set stands in the other's place.
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in overridden and other not in overridden:
            given.pop(other, None)
    return given


def _schedule(given: Given | None, net: Net, metrics: Mapping[str, bool]) -> tuple[str, Attrs]:
    constant: tuple[str, Attrs] = ("constant", {})
    if given is None or given.value is BROKEN:
        return constant
    schedules = net.registry.schedules
    tree = Tree(given.value, (), {}, given.span) if isinstance(given.value, str) else given.value
    if not isinstance(tree, Tree) or tree.name not in schedules:
        name = tree.name if isinstance(tree, Tree) else ""
        near = suggest(name, schedules)
        hint = f"did you mean '{near}'?" if near else f"schedules: {', '.join(schedules)}"
        message = f"unknown schedule '{name}'" if name else f"schedule expects a schedule, not {show_given(given)}"
        net.diagnostics.error(given.span, message, hint=hint)
        return constant
    try:
        attrs = net.arguments.bind_tree(tree.name, schedules[tree.name].parameters, tree)
    except Unusable:
        return constant
    metric = attrs.get("metric")
    if not isinstance(metric, str):
        return tree.name, attrs
    if (label := metric.removeprefix("val.")) in metrics:
        return tree.name, {**attrs, "rises": metrics[label]}
    if not net.diagnostics.errors:
        watched = [f"val.{name}" for name in metrics]
        near = suggest(metric, watched)
        hint = f"did you mean '{near}'?" if near else f"the spec has {', '.join(watched)}"
        place = (tree.named.get("metric") or tree.args[0]).span
        net.diagnostics.error(place, f"{tree.name} watches '{metric}', which the spec does not report", hint=hint)
    return tree.name, attrs


Change = tuple[Sequence[str], str, Given]
"""Names of parameters, which of their numbers changes, and the new number or factor."""


def _block_changes(statement: s.Solver, kind: SolverKind, net: Net, scope: Scope) -> list[Change]:
    changes: list[Change] = []
    evaluator = net.evaluator(scope)
    rates = {p.name: p for p in kind.parameters if p.name in kind.rates}
    for block in statement.blocks:
        selected = [name for selector in block.selectors for name in _select(selector, net, scope)]
        names: set[str] = set()
        for setting in block.settings:
            if setting.name not in rates:
                net.arguments.unknown("a solver's block", setting.name, list(rates), setting.name_span)
                continue
            if setting.name in names:
                net.diagnostics.error(setting.name_span, f"this block has two settings '{setting.name}'")
                continue
            names.add(setting.name)
            try:
                given = net.leaves.override(f"solver.{text_of(block.selectors[0])}.{setting.name}", evaluator)
                if given is None:
                    given = Given(evaluator.value(setting.value), setting.value.span)
                if not isinstance(given.value, Factor):
                    net.arguments.accept(rates[setting.name], given, kind.name)
                changes.append((selected, setting.name, given))
            except Unusable:
                continue
    return changes


def _select(selector: s.Name | s.Range, net: Net, scope: Scope) -> list[str]:
    """The parameters that a selector means: by role, kind, name, or a range of statements; mistakes are reported."""
    trained = [op for op in net.parameters.values() if op.kind == "parameter"]
    if isinstance(selector, s.Range):
        try:
            steps = steps_between(selector, net, scope)
        except Unusable:
            return []
        found = [op.name for op in trained if op.layer in steps]
    else:
        word = selector.id
        steps = set(next((t.steps for t in net.statements if t.name == word), ()))
        found = [
            op.name
            for op in trained
            if word in (op.attrs["role"], op.attrs["of_kind"], op.name, op.layer)
            or op.name.startswith(f"{word}.")
            or op.layer in steps
        ]
    if not found and not is_broken(text_of(selector), net, scope):
        near = suggest(text_of(selector), [*(t.name for t in net.statements), *net.parameters, *_words(trained)])
        hint = "select by role (bias), kind (conv), name (fc8) or range (conv1..conv3)"
        hint = f"did you mean '{near}'?" if near and near != text_of(selector) else hint
        net.diagnostics.error(selector.span, f"'{text_of(selector)}' selects no parameter", hint=hint)
    return found


def _words(trained: Sequence[Op]) -> set[str]:
    """The roles and kinds that parameters have."""
    return {word for op in trained for word in (op.attrs["role"], op.attrs["of_kind"])}


def _set_rates(net: Net, kind: SolverKind, attrs: Mapping[str, Attr], changes: Sequence[Change]) -> None:
    """Write every parameter's rates on its op: the solver's, changed by the blocks in file order."""
    rates = {name: dict(attrs) for name in net.parameters}
    for names, rate, given in changes:
        for name in dict.fromkeys(names):
            value = given.value
            rates[name][rate] = rates[name][rate] * value.value if isinstance(value, Factor) else float(value)
    net.ops = [replace(op, attrs={**op.attrs, **rates[op.name]}) if op.kind == "parameter" else op for op in net.ops]
