"""Binds the ``solver`` block: its settings, its schedule, and the rates of every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from alexdsl.ir.graph import Attr, Attrs, Op
from alexdsl.ir.parameters import REQUIRED, Factor, Mismatch, Optional, Parameter, Whole
from alexdsl.ir.protocol import SolverKind
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import suggest
from alexdsl.passes.bind.arguments import Given
from alexdsl.passes.bind.net import NetBinder, Statement
from alexdsl.passes.bind.scope import Scope
from alexdsl.passes.bind.values import Tree, Unusable, show

COMMON = (
    Parameter("epochs", Optional(Whole(1)), None, "how often training sees every image"),
    Parameter("steps", Optional(Whole(1)), None, "how many steps training takes, in place of epochs"),
    Parameter("validate", Optional(Whole(1)), None, "steps between validations; none for every epoch"),
    Parameter("slices", Whole(1), 1, "parts that a batch is cut into to save memory"),
)


@dataclass(frozen=True)
class SolverSettings:
    """How the net is trained: the solver's kind and numbers, how long, and its schedule as (kind, attributes)."""

    kind: str = "sgd"
    attrs: Attrs = field(default_factory=dict)
    epochs: int | None = None
    steps: int | None = None
    validate: int | None = None
    slices: int = 1
    schedule: tuple[str, Attrs] = ("constant", {})


def bind_solver(statement: s.Solver | None, binder: NetBinder, scope: Scope) -> SolverSettings:
    """The settings; every parameter op gets its rates as attributes. Mistakes are reported."""
    registry = binder.registry
    if statement is None:
        kind = registry.solvers["sgd"]
        _set_rates(binder, kind, {p.name: p.default for p in kind.parameters if p.default is not REQUIRED}, ())
        return SolverSettings()
    if statement.kind not in registry.solvers:
        near = suggest(statement.kind, registry.solvers)
        hint = f"did you mean '{near}'?" if near else f"solvers: {', '.join(registry.solvers)}"
        binder.diagnostics.error(statement.kind_span, f"unknown solver '{statement.kind}'", hint=hint)
        return SolverSettings()
    kind = registry.solvers[statement.kind]
    try:
        given, schedule = _settings(statement, kind, binder, scope)
        bound = binder.arguments.bind(statement.kind, (*kind.parameters, *COMMON), given, {}, statement.span, ("schedule",))
    except Unusable:
        return SolverSettings()
    attrs = {p.name: bound[p.name] for p in kind.parameters}
    if bound["slices"] > 1:
        binder.diagnostics.error(given["slices"].span, "slices is not built yet", hint="leave it out, or set it to 1")
    if bound["epochs"] and bound["steps"]:
        binder.diagnostics.error(given["steps"].span, "a solver has epochs or steps, not both")
    _set_rates(binder, kind, attrs, _block_changes(statement, kind, binder, scope))
    return SolverSettings(
        statement.kind, attrs, bound["epochs"], bound["steps"], bound["validate"], bound["slices"], schedule
    )


def _settings(
    statement: s.Solver, kind: SolverKind, binder: NetBinder, scope: Scope
) -> tuple[dict[str, Given], tuple[str, Attrs]]:
    evaluator = binder.evaluator(scope)
    parameters = {p.name: p for p in (*kind.parameters, *COMMON)}
    given: dict[str, Given] = {}
    schedule: tuple[str, Attrs] = ("constant", {})
    for setting in statement.settings:
        if setting.name in given:
            binder.diagnostics.error(setting.name_span, f"the solver has two settings '{setting.name}'")
            continue
        words = parameters[setting.name].type.words if setting.name in parameters else ()
        try:
            is_schedule = setting.name == "schedule"
            value = binder.leaves.override(f"solver.{setting.name}", evaluator, words, free=is_schedule)
            if value is None:
                value = evaluator.value(setting.value, words, free=is_schedule)
        except Unusable:
            continue
        if is_schedule:
            schedule = _schedule(Given(value, setting.value.span), binder)
        else:
            given[setting.name] = Given(value, setting.value.span)
    for name, parameter in parameters.items():
        if name not in given:
            value = binder.leaves.override(f"solver.{name}", evaluator, parameter.type.words)
            if value is not None:
                given[name] = Given(value, statement.span)
    if "steps" in given and "solver.steps" in binder.leaves.used and "solver.epochs" not in binder.leaves.used:
        given.pop("epochs", None)
    if "epochs" in given and "solver.epochs" in binder.leaves.used and "solver.steps" not in binder.leaves.used:
        given.pop("steps", None)
    return given, schedule


def _schedule(given: Given, binder: NetBinder) -> tuple[str, Attrs]:
    schedules = binder.registry.schedules
    tree = given.value if isinstance(given.value, Tree) else Tree(str(given.value), (), {}, given.span)
    if tree.name not in schedules:
        near = suggest(tree.name, schedules)
        hint = f"did you mean '{near}'?" if near else f"schedules: {', '.join(schedules)}"
        binder.diagnostics.error(given.span, f"unknown schedule {show(given.value)}", hint=hint)
        return ("constant", {})
    try:
        return tree.name, binder.arguments.bind_tree(tree.name, schedules[tree.name].parameters, tree)
    except Unusable:
        return ("constant", {})


Change = tuple[Sequence[str], str, Given]
"""Names of parameters, which of their numbers changes, and the new number or factor."""


def _block_changes(statement: s.Solver, kind: SolverKind, binder: NetBinder, scope: Scope) -> list[Change]:
    changes: list[Change] = []
    evaluator = binder.evaluator(scope)
    rates = {p.name: p for p in kind.parameters if p.name in kind.rates}
    for block in statement.blocks:
        selected: list[str] = []
        for selector in block.selectors:
            found = _select(selector, binder)
            if not found:
                _no_match(selector, binder)
            selected += found
        for setting in block.settings:
            if setting.name not in rates:
                binder.arguments.unknown("a solver's block", setting.name, list(rates), setting.name_span)
                continue
            path = f"solver.{_text(block.selectors[0])}.{setting.name}"
            try:
                value = binder.leaves.override(path, evaluator)
                value = evaluator.value(setting.value) if value is None else value
                if not isinstance(value, Factor):
                    rates[setting.name].type.accept(value)
                changes.append((selected, setting.name, Given(value, setting.value.span)))
            except Mismatch as error:
                binder.diagnostics.error(setting.value.span, f"{setting.name} {error}, not {show(value)}")
            except Unusable:
                continue
    return changes


def _text(selector: s.Name | s.Range) -> str:
    return selector.id if isinstance(selector, s.Name) else f"{selector.first}..{selector.last}"


def _select(selector: s.Name | s.Range, binder: NetBinder) -> list[str]:
    """The parameters that a selector means: by role, kind, name, or a range of statements."""
    trained = [op for op in binder.parameters.values() if op.kind == "parameter"]
    if isinstance(selector, s.Range):
        steps = steps_between(selector, binder.statements)
        return [op.name for op in trained if op.layer in steps]
    word = selector.id
    return [
        op.name
        for op in trained
        if word in (op.attrs["role"], op.attrs["of_kind"], op.name, op.layer) or op.name.startswith(f"{word}.")
    ]


def steps_between(selector: s.Range, statements: Sequence[Statement]) -> set[str]:
    """The steps of the statements from one name to another, in file order; empty where a name is unknown."""
    names = [statement.name for statement in statements]
    if selector.first not in names or selector.last not in names:
        return set()
    first, last = names.index(selector.first), names.index(selector.last)
    return {step for statement in statements[first : last + 1] for step in statement.steps}


def _no_match(selector: s.Name | s.Range, binder: NetBinder) -> None:
    known = [statement.name for statement in binder.statements]
    near = suggest(_text(selector), [*known, "bias", "weight"])
    hint = f"did you mean '{near}'?" if near else "select by role (bias), kind (conv), name (fc8) or range (conv1..conv3)"
    binder.diagnostics.error(selector.span, f"'{_text(selector)}' selects no parameter", hint=hint)


def _set_rates(binder: NetBinder, kind: SolverKind, attrs: Mapping[str, Attr], changes: Sequence[Change]) -> None:
    """Write every parameter's rates on its op: the solver's, changed by the blocks in file order."""
    rates = {name: {rate: attrs.get(rate, 0.0) for rate in attrs} for name in binder.parameters}
    for names, rate, given in changes:
        for name in names:
            value = given.value
            rates[name][rate] = rates[name][rate] * value.value if isinstance(value, Factor) else float(value)
    changed: dict[str, Op] = {}
    for op in binder.ops:
        if op.kind == "parameter":
            changed[op.name] = replace(op, attrs={**op.attrs, **rates[op.name]})
    binder.ops = [changed.get(op.name, op) for op in binder.ops]

