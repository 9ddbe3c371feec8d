"""What a net is asked for: its loss, its reports, and the scores that they are about."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Graph
from alexdsl.ir.protocol import LayerKind
from alexdsl.language import syntax as s
from alexdsl.language.span import Span
from alexdsl.passes.bind.names import ChainNames
from alexdsl.passes.bind.net import POISON
from alexdsl.passes.bind.scope import Scope
from alexdsl.passes.bind.statements import NetBinder
from alexdsl.passes.bind.values import BROKEN, Ref, Unusable


def bind_outputs(statements: Sequence[s.Stmt], net: NetBinder, scope: Scope, file: s.File) -> dict[str, str]:
    """``loss``, the reports by their metrics' names, and ``logits``: what the first report, else the loss scores."""
    outputs: dict[str, str] = {}
    _loss(outputs, net, scope, file)
    made = len(net.ops)
    scope.above = None
    for statement in statements:
        for item in statement.items if isinstance(statement, s.Report) else ():
            _report(item, outputs, net, scope)
    for op in (*net.ops[made:], *net.ops[:made]):
        kind = net.registry.ops.get(op.kind)
        if isinstance(kind, LayerKind) and (kind.loss or kind.metric):
            outputs["logits"] = op.operands[0]
            break
    return outputs


def _loss(outputs: dict[str, str], net: NetBinder, scope: Scope, file: s.File) -> None:
    loss = scope.names.get("loss")
    if isinstance(loss, Ref):
        if loss.value != POISON:
            outputs["loss"] = loss.value
        return
    if loss is BROKEN or (loss is None and scope.line_of("loss") is not None):
        return
    text = file.source.text.rstrip()
    hint = "for example: loss = softmax_cross_entropy(fc8, label)"
    net.diagnostics.error(
        Span(file.source, max(0, len(text) - 1), len(text)), "the spec has no 'loss' to minimise", hint=hint
    )


def _report(item: s.Expr, outputs: dict[str, str], net: NetBinder, scope: Scope) -> None:
    last = item.steps[-1] if isinstance(item, s.Chain) else item
    name = last.name if isinstance(last, s.Call) else last.id if isinstance(last, s.Name) else ""
    metrics = {n: kind for n, (kind, _) in net.layers.items() if kind.metric or kind.loss}
    if name not in metrics:
        known = name in net.layers or scope.lookup(name) is not None or scope.find_def(name) is not None
        hint = "for example: report top1(fc8), top5(fc8)"
        message = "a report is made of metrics" + (f", and '{name}' is none" if name and known else "")
        if name and not known:
            net.unknown_step(name, last.name_span if isinstance(last, s.Call) else last.span, scope, call=True)
        else:
            net.diagnostics.error(item.span, message, hint=hint)
        return
    count, label = 1, name
    while label in outputs:
        count += 1
        label = f"{name}_{count}"
    try:
        outputs[label] = net.chain(item, scope, ChainNames(Scope(f"report.{label}", f"report.{label}"), None))
    except Unusable:
        return


def warn_unused(graph: Graph, net: NetBinder) -> None:
    """Values that reach no loss or report."""
    live = set(graph.outputs.values())
    for op in reversed(graph.ops):
        if op.name in live:
            live.update(op.operands)
    readers = {name for op in graph.ops for name in op.operands}
    seen: set[str] = set()
    for op in graph.ops:
        if op.name in live or op.name in readers or op.kind in ("parameter", "state") or op.location in seen:
            continue
        seen.add(op.location)
        what = net.spoken.get(op.name, op.layer)
        net.diagnostics.warning(net.spans.get(op.location), f"'{what}' reaches no loss or report, and is left out")
