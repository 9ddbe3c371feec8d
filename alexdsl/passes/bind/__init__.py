"""text -> parsed: expands and binds a spec's statements into a graph of untyped ops and the settings around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alexdsl.ir.graph import Graph
from alexdsl.ir.protocol import LayerKind, Registry
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostic, Diagnostics
from alexdsl.language.span import Source, Span
from alexdsl.passes.bind.arguments import Arguments, Given
from alexdsl.passes.bind.includes import splice
from alexdsl.passes.bind.leaves import Block, Leaves
from alexdsl.passes.bind.net import NetBinder
from alexdsl.passes.bind.place import HOME, bind_places
from alexdsl.passes.bind.scope import Ref, Scope
from alexdsl.passes.bind.solver import SolverSettings, bind_solver
from alexdsl.ir.parameters import whole
from alexdsl.passes.bind.values import Unusable

__all__ = ["HOME", "Block", "Bound", "Given", "SolverSettings", "bind"]

Ask = Callable[[Block], int | None]


@dataclass(frozen=True)
class Bound:
    """A spec as bound: the parsed graph, and what runs it. ``spans`` finds an op's place in the text by its location."""

    graph: Graph
    solver: SolverSettings
    has_solver: bool
    data: Block | None
    batch: int | None
    spans: Mapping[str, Span]
    warnings: Sequence[Diagnostic] = field(default_factory=tuple)


def bind(
    file: s.File,
    registry: Registry,
    *,
    path: Path | None = None,
    overrides: Mapping[str, s.Expr] | None = None,
    seed: int = 0,
    ask: Ask = lambda block: None,
) -> Bound:
    """Bind a spec. Raises SpecError with every mistake; warnings come back in the result.

    ``overrides`` maps leaves to expressions (``--set``), ``ask`` finds the number of classes where the spec asks for it.
    """
    diagnostics = Diagnostics()
    statements = splice(file, path, diagnostics)
    singles = {kind: _single(kind, statements, diagnostics) for kind in (s.Net, s.Data, s.Solver)}
    data = singles[s.Data]
    leaves = Leaves(diagnostics, overrides or {}, ask, data if isinstance(data, s.Data) else None)
    arguments = Arguments(diagnostics, registry.initialisers)
    binder = NetBinder(registry, diagnostics, arguments, leaves, seed)
    scope = Scope()
    _constants_first(statements, binder, scope)
    leaves.bind_data(binder.evaluator(scope))
    try:
        top = [t for t in statements if not isinstance(t, s.Data | s.Solver | s.Place | s.Report | s.Net | s.Language | s.Const)]
        binder.block(top, scope)
        outputs = _outputs(statements, binder, scope, file)
    except Unusable:
        diagnostics.raise_if_errors()
        raise
    solver_statement = singles[s.Solver]
    solver = bind_solver(solver_statement if isinstance(solver_statement, s.Solver) else None, binder, scope)
    devices = bind_places([t for t in statements if isinstance(t, s.Place)], binder)
    batch = _batch(leaves, diagnostics)
    leaves.report_unused()
    diagnostics.raise_if_errors()
    net = singles[s.Net]
    name = net.name if isinstance(net, s.Net) else Path(file.source.name).stem or "net"
    attrs = {"mode": "train", "batch": batch or 1, "seed": seed, "devices": devices, "solver": solver.kind}
    graph = Graph(name, "parsed", tuple(binder.ops), outputs, attrs)
    _warn_unused(graph, binder)
    return Bound(graph, solver, solver_statement is not None, leaves.block, batch, binder.spans, diagnostics.warnings)


def _single(kind: type[s.Stmt], statements: Sequence[s.Stmt], diagnostics: Diagnostics) -> s.Stmt | None:
    found = [t for t in statements if isinstance(t, kind)]
    for extra in found[1:]:
        word = kind.__name__.lower()
        diagnostics.error(extra.span, f"a spec has one '{word}'", f"the first stands on line {found[0].span.line}")
    return found[0] if found else None


def _constants_first(statements: Sequence[s.Stmt], binder: NetBinder, scope: Scope) -> None:
    """Constants are bound before data and net, so that both may use them; among themselves they go in file order."""
    binder.block([t for t in statements if isinstance(t, s.Const)], scope)


def _outputs(statements: Sequence[s.Stmt], binder: NetBinder, scope: Scope, file: s.File) -> dict[str, str]:
    """``loss``, the reports, and ``logits``: what the first loss or report scores."""
    outputs: dict[str, str] = {}
    loss = scope.names.get("loss")
    if not isinstance(loss, Ref):
        where = Span(file.source, max(0, len(file.source.text) - 1), len(file.source.text))
        hint = "for example: loss = softmax_cross_entropy(fc8, label)"
        binder.diagnostics.error(where, "the spec has no 'loss' to minimise", hint=hint)
    elif loss.value not in binder.poisoned:
        outputs["loss"] = loss.value
        binder.used.add(loss.value)
    for statement in statements:
        for item in statement.items if isinstance(statement, s.Report) else ():
            _report(item, outputs, binder, scope)
    scored = next((op for op in binder.ops if _scores(binder.registry, op.kind)), None)
    if scored is not None:
        outputs["logits"] = scored.operands[0]
    return outputs


def _report(item: s.Expr, outputs: dict[str, str], binder: NetBinder, scope: Scope) -> None:
    last = item.steps[-1] if isinstance(item, s.Chain) else item
    name = last.name if isinstance(last, s.Call) else last.id if isinstance(last, s.Name) else ""
    kind = binder.layers.get(name, (None, {}))[0]
    if kind is None or not (kind.metric or kind.loss):
        binder.diagnostics.error(item.span, "a report is made of metrics", hint="for example: report top1(fc8), top5(fc8)")
        return
    try:
        count, label = 1, name
        while label in outputs:
            count += 1
            label = f"{name}_{count}"
        outputs[label] = binder.chain(item, scope, f"report.{label}")
    except Unusable:
        return


def _scores(registry: Registry, kind: str) -> bool:
    found = registry.ops.get(kind)
    return isinstance(found, LayerKind) and (found.loss or found.metric)


def _batch(leaves: Leaves, diagnostics: Diagnostics) -> int | None:
    given = leaves.block.settings.get("batch") if leaves.block else None
    if given is None:
        return None
    batch = whole(given.value)
    if batch is None or not 1 <= batch < 2**31:
        diagnostics.error(given.span, "batch is a whole number of at least 1")
        return None
    return batch


def _warn_unused(graph: Graph, binder: NetBinder) -> None:
    """Values that reach no loss or report."""
    live = set(graph.outputs.values())
    for op in reversed(graph.ops):
        if op.name in live:
            live.update(op.operands)
    readers = {name for op in graph.ops for name in op.operands}
    for op in graph.ops:
        if op.name not in live and op.name not in readers and op.kind not in ("parameter", "state", "input"):
            span = binder.spans.get(op.location)
            binder.diagnostics.warning(span, f"'{op.layer}' reaches no loss or report, and is left out")
