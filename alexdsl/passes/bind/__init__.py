"""text -> parsed: expands and binds a spec's statements into a graph of untyped ops and the settings around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alexdsl.ir.graph import Graph
from alexdsl.ir.parameters import whole
from alexdsl.ir.protocol import LayerKind, Registry
from alexdsl.language import syntax as s
from alexdsl.language.diagnostics import Diagnostic, Diagnostics
from alexdsl.language.span import Span
from alexdsl.passes.bind.arguments import Arguments
from alexdsl.passes.bind.includes import splice
from alexdsl.passes.bind.leaves import Ask, Block, Check, Leaves
from alexdsl.passes.bind.net import TooLarge
from alexdsl.passes.bind.outputs import bind_outputs, warn_unused
from alexdsl.passes.bind.place import HOME, bind_places
from alexdsl.passes.bind.scope import Scope
from alexdsl.passes.bind.solver import SolverSettings, bind_solver
from alexdsl.passes.bind.statements import NetBinder
from alexdsl.passes.bind.values import BROKEN, Given, show_given
from alexdsl.passes.misfits import misfits

__all__ = ["HOME", "Block", "Bound", "Given", "SolverSettings", "bind"]

MOST_ERRORS = 50
BATCH = 128
"""Images of a batch where the data block does not say."""


@dataclass(frozen=True)
class Bound:
    """A spec as bound: the parsed graph, and what runs it.

    ``spans`` finds an op's place in the text by its location, ``spoken`` what the spec calls a value.
    """

    graph: Graph
    solver: SolverSettings
    has_solver: bool
    data: Block | None
    batch: int | None
    spans: Mapping[str, Span]
    warnings: Sequence[Diagnostic] = field(default_factory=tuple)
    spoken: Mapping[str, str] = field(default_factory=dict)


def bind(
    file: s.File,
    registry: Registry,
    *,
    path: Path | None = None,
    overrides: Mapping[str, s.Expr] | None = None,
    seed: int = 0,
    ask: Ask = lambda block: None,
    check: Check = lambda block: (),
) -> Bound:
    """Bind a spec. Raises SpecError with every mistake, misfits of shapes among them; warnings are in the result.

    ``overrides`` maps leaves to expressions (``--set``), ``ask`` finds the number of classes where the spec wants it,
    ``check`` says what is wrong with the data block.
    """
    diagnostics = Diagnostics(MOST_ERRORS)
    statements = splice(file, path, diagnostics)
    nets, datas, solvers = (_single(statements, kind, diagnostics) for kind in (s.Net, s.Data, s.Solver))
    data = datas if isinstance(datas, s.Data) else None
    solver_statement = solvers if isinstance(solvers, s.Solver) else None
    leaves = Leaves(diagnostics, overrides or {}, ask, data)
    net = NetBinder(registry, diagnostics, Arguments(diagnostics, registry.initialisers), leaves, seed)
    scope = Scope()
    name = nets.name if isinstance(nets, s.Net) else Path(file.source.name).stem or "net"
    try:
        outputs = _net(statements, net, scope, check, file)
        net.failed = bool(diagnostics.errors)
        batch = _batch(leaves, diagnostics)
        metrics = {label: _rises(name, net) for label, name in outputs.items() if label != "logits"}
        solver = bind_solver(solver_statement, net, scope, metrics, batch)
        devices = bind_places([t for t in statements if isinstance(t, s.Place)], net, scope)
        leaves.report_unused(bool(diagnostics.errors))
    except TooLarge:
        diagnostics.raise_if_errors()
        raise
    except RecursionError:
        diagnostics.error(None, "the spec nests too deeply", hint="name parts of it")
        diagnostics.raise_if_errors()
        raise
    attrs = {"mode": "train", "batch": batch or 1, "seed": seed, "devices": devices, "solver": solver.kind}
    if solver.slices > 1:
        attrs["slices"] = solver.slices
    if solver.precision != "fp32":
        attrs["precision"] = solver.precision
    if solver.clip is not None:
        attrs["clip"] = solver.clip
    graph = Graph(name, "parsed", tuple(net.ops), outputs, attrs)
    if diagnostics.errors:
        # What could be bound is looked at all the same, so that one reading shows all mistakes.
        if batch is not None or data is None:
            diagnostics.extend(misfits(graph, registry, net.spans, net.spoken)[0])
        diagnostics.raise_if_errors()
    warn_unused(graph, net)
    return Bound(
        graph, solver, solver_statement is not None, leaves.block, batch, net.spans, diagnostics.warnings, net.spoken
    )


def _single(statements: Sequence[s.Stmt], kind: type[s.Stmt], diagnostics: Diagnostics) -> s.Stmt | None:
    found = [t for t in statements if isinstance(t, kind)]
    for extra in found[1:]:
        word = kind.__name__.lower()
        diagnostics.error(extra.span, f"a spec has one '{word}'", f"the first stands on line {found[0].span.line}")
    return found[0] if found else None


def _net(statements: Sequence[s.Stmt], net: NetBinder, scope: Scope, check: Check, file: s.File) -> dict[str, str]:
    """Bind constants and data, which may use each other, then the net; the graph's outputs."""
    constants = [t for t in statements if isinstance(t, s.Const)]
    late = _after_data(constants)
    net.constants([t for t in constants if t.name not in late], scope)
    net.leaves.bind_data(net.evaluator(scope), check)
    net.constants([t for t in constants if t.name in late], scope)
    others = s.Net | s.Data | s.Solver | s.Place | s.Report | s.Language | s.Const
    net.block([t for t in statements if not isinstance(t, others)], scope)
    return bind_outputs(statements, net, scope, file)


def _after_data(constants: Sequence[s.Const]) -> set[str]:
    """The constants that use a leaf of the data, be it by way of another."""
    late: set[str] = set()
    for constant in constants:
        names = {node.id for node in s.walk(constant) if isinstance(node, s.Name)}
        if names & late or any(name.startswith("data.") for name in names):
            late.add(constant.name)
    return late


def _rises(value: str, net: NetBinder) -> bool:
    """Whether more of a reported value is better, as of an accuracy and unlike a loss."""
    kind = next(net.registry[op.kind] for op in net.ops if op.results[0].name == value)
    return isinstance(kind, LayerKind) and kind.metric


def _batch(leaves: Leaves, diagnostics: Diagnostics) -> int | None:
    given = leaves.block.settings.get("batch") if leaves.block else None
    if given is None:
        return BATCH if leaves.block else None
    if given.value is BROKEN:
        return None
    batch = whole(given.value)
    if batch is None or not 1 <= batch < 2**31:
        if not leaves.wrong:
            message = f"batch expects a whole number of at least 1, not {show_given(given)}"
            diagnostics.error(given.span, message)
        return None
    return batch
