"""What does not fit in a parsed graph's shapes, as diagnostics: what flows in, how it came about, what would help."""

from __future__ import annotations

from collections.abc import Mapping

from alexdsl.ir.graph import Graph, Op
from alexdsl.ir.protocol import Registry
from alexdsl.ir.structure import LEAVES
from alexdsl.ir.types import TensorType
from alexdsl.language.diagnostics import Diagnostic
from alexdsl.language.span import Span
from alexdsl.passes.infer import infer

_VERBS = ("expects ", "shares ", "has ", "needs ", "gets ", "joins ", "takes ")


def misfits(
    graph: Graph, registry: Registry, spans: Mapping[str, Span], spoken: Mapping[str, str]
) -> tuple[list[Diagnostic], Graph]:
    """The misfits, and the graph with types where values have them.

    ``spans`` finds an op's place in the text by its location, ``spoken`` what the spec calls a value.
    """
    found: list[tuple[Op, str, str]] = []
    shaped = infer(graph, registry, lambda op, message, hint: found.append((op, message, hint)))
    diagnostics = []
    for op, message, hint in found:
        notes = [note for name in op.operands if (note := _note(shaped, name, spans, spoken))]
        says = f"{_subject(op)}{'' if message.startswith(_VERBS) else ':'} {message}"
        hints = (hint,) if hint else ()
        diagnostics.append(Diagnostic(says, spans.get(op.location), tuple(dict.fromkeys(notes)), hints))
    loss = shaped.outputs.get("loss")
    type = shaped.results[loss].type if loss is not None else None
    if loss is not None and type is not None and type.shape:
        maker = shaped.producers[loss]
        says = f"'loss' must be one number, and is {show_type(type)}"
        hint = "loss = softmax_cross_entropy(...) makes one of scores and labels"
        diagnostics.append(Diagnostic(says, spans.get(maker.location), (), (hint,)))
    return diagnostics, shaped


def show_type(type: TensorType) -> str:
    """``f32[128, 256, 13, 13]``."""
    return f"{type.dtype}[{', '.join(map(str, type.shape))}]"


def _subject(op: Op) -> str:
    """``conv4`` for the layer that this statement's weights belong to, else the step: ``conv4.maxpool``."""
    statement = op.layer.rpartition(".")[0]
    own = any(name.rpartition(".")[0] == statement for name in op.operands[1:]) if statement else False
    return statement if own else op.layer


def _note(graph: Graph, name: str, spans: Mapping[str, Span], spoken: Mapping[str, str]) -> str | None:
    """``conv3 gives f32[128, 256, 13, 13] (line 20)`` for a value that flows into an op."""
    maker = graph.producers[name]
    type = graph.results[name].type
    if type is None or (maker.kind in LEAVES and (maker.kind != "input" or not maker.layer)):
        return None
    span = spans.get(maker.location)
    where = f" (line {span.line})" if span else ""
    if maker.kind == "input":
        return f"{name} is {show_type(type)}{where if name != 'label' else ''}"
    return f"{spoken.get(name, maker.layer)} gives {show_type(type)}{where}"
