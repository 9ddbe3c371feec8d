"""The text form of graphs: one line an op, printed and parsed back to an equal graph."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from alexdsl.ir.graph import Attr, Attrs, Graph, Launch, Op, Result
from alexdsl.ir.types import ITEM_BYTES, TensorType

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.+-][A-Za-z0-9_]+)*\Z")
_RESERVED = {"none", "true", "false", "inf", "nan"}


def print_graph(graph: Graph) -> str:
    """The graph as text; ``parse_graph`` gives an equal graph back."""
    head = {"stage": graph.stage, **graph.attrs}
    lines = [f"graph {graph.name} {_attrs(head)}"]
    for op in graph.ops:
        lines.append("  " + print_op(op))
        lines += ["    " + _launch(launch) for launch in op.launches]
    lines.append(
        "  return " + ", ".join(f"{k}=%{v}" for k, v in graph.outputs.items()) if graph.outputs else "  return"
    )
    for name, source in graph.kernels.items():
        lines += ["", f"kernel {name}"]
        lines += [f"  | {line}".rstrip() for line in source.splitlines()]
    return "\n".join(lines) + "\n"


def print_op(op: Op) -> str:
    """One op as one line."""
    results = ", ".join(_result(r) for r in op.results)
    if len(op.results) != 1:
        results = f"({results})"
    device = f" @{op.device}" if op.device else ""
    operands = ", ".join("%" + name for name in op.operands)
    attrs = f" {_attrs(op.attrs)}" if op.attrs else ""
    where = " ".join(filter(None, (op.layer, op.location)))
    comment = f"   # {op.layer or '-'} {op.location}".rstrip() if where else ""
    return f"{results}{device} = {op.kind}({operands}){attrs}{comment}"


def _launch(launch: Launch) -> str:
    args = ", ".join(a if isinstance(a, str) and a.startswith("%") else print_attr(a) for a in launch.args)
    return f"launch {launch.kernel}({args})" + (f" {_attrs(launch.attrs)}" if launch.attrs else "")


def _result(r: Result) -> str:
    kind = f" : {r.type}" if r.type else ""
    place = f" at {r.offset}" if r.offset is not None else ""
    return f"%{r.name}{kind}{place}"


def _attrs(attrs: Attrs) -> str:
    return "{" + ", ".join(f"{k}={print_attr(v)}" for k, v in attrs.items()) + "}"


def print_attr(value: Attr) -> str:
    """An attribute's value: ``none true 3 0.5 word "a text" [1, 2] {a=1}``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return value if _WORD.match(value) and value not in _RESERVED else json.dumps(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(print_attr, value)) + "]"
    if isinstance(value, dict):
        return _attrs(value)
    raise TypeError(f"not an attribute: {value!r}")


_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<value>%[A-Za-z_][\w.]*)|(?P<string>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<number>-?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|inf\b|nan\b))"""
    r"""|(?P<word>[A-Za-z_]\w*(?:[.+-]\w+)*)|(?P<mark>[(){}\[\],=:@])"""
)


class IRSyntaxError(ValueError):
    """The text is not a graph; the message names the line."""


class _Line:
    """The tokens of one line, read from left to right."""

    def __init__(self, text: str, number: int) -> None:
        self.number = number
        self.tokens = list(self._scan(text))
        self.at = 0

    def _scan(self, text: str) -> Iterator[tuple[str, str]]:
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise self.error(f"unexpected {text[position : position + 10]!r}")
            if match.lastgroup != "space":
                yield str(match.lastgroup), match.group()
            position = match.end()

    def error(self, message: str) -> IRSyntaxError:
        return IRSyntaxError(f"line {self.number}: {message}")

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, kind: str | None = None) -> str:
        if self.at >= len(self.tokens):
            raise self.error("the line ends too soon")
        found, text = self.tokens[self.at]
        if kind and found != kind:
            raise self.error(f"expected a {kind}, found {text!r}")
        self.at += 1
        return text

    def expect(self, text: str) -> None:
        if self.take() != text:
            raise self.error(f"expected {text!r}")

    def eat(self, text: str) -> bool:
        if self.peek() == text:
            self.at += 1
            return True
        return False

    def sequence(self, end: str) -> Iterator[None]:
        """Once per item of a list that ends with ``end``; the caller takes the item."""
        if self.eat(end):
            return
        while True:
            yield
            if self.eat(end):
                return
            self.expect(",")

    def attr(self) -> Attr:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        self.at += 1
        if kind == "string":
            return json.loads(text)
        if kind == "number":
            return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
        if kind == "word":
            return {"none": None, "true": True, "false": False}.get(text, text)
        if text == "[":
            return tuple(self.attr() for _ in self.sequence("]"))
        if text == "{":
            return dict(self._pair() for _ in self.sequence("}"))
        raise self.error(f"expected a value, found {text!r}")

    def _pair(self) -> tuple[str, Attr]:
        key = self.take("word")
        self.expect("=")
        return key, self.attr()

    def type(self) -> TensorType:
        dtype = self.take("word")
        if dtype not in ITEM_BYTES:
            raise self.error(f"unknown element type '{dtype}'")
        self.expect("[")
        shape: list[int] = []
        layout = ""
        while not self.eat("]"):
            if self.eat(":"):
                layout = self.take("word")
            elif not self.eat(","):
                shape.append(int(self.take("number")))
        return TensorType(dtype, tuple(shape), layout)

    def result(self) -> Result:
        name = self.take("value")[1:]
        kind = self.type() if self.eat(":") else None
        offset = int(self.take("number")) if self.eat("at") else None
        return Result(name, kind, offset)


def parse_graph(text: str) -> Graph:
    """The graph that ``text`` prints. Raises IRSyntaxError naming the line."""
    name, stage, attrs = "", "", {}
    ops: list[Op] = []
    outputs: dict[str, str] = {}
    kernels: dict[str, list[str]] = {}
    body: list[str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        if body is not None and raw.startswith("  |"):
            body.append(raw[4:])
            continue
        code, _, comment = raw.partition("   # ")
        line = _Line(code, number)
        head = line.peek()
        if not head:
            continue
        if head == "graph":
            line.take()
            name = line.take("word")
            attrs = line.attr()
            stage = attrs.pop("stage")
        elif head == "return":
            line.take()
            while line.peek():
                key = line.take("word")
                line.expect("=")
                outputs[key] = line.take("value")[1:]
                line.eat(",")
        elif head == "kernel":
            line.take()
            body = kernels.setdefault(line.take("word"), [])
        elif head == "launch":
            ops[-1] = replace(ops[-1], launches=(*ops[-1].launches, _parse_launch(line)))
        else:
            ops.append(_parse_op(line, comment))
    sources = {k: "\n".join(lines) + "\n" for k, lines in kernels.items()}
    return Graph(name, stage, tuple(ops), outputs, attrs, sources)


def _parse_launch(line: _Line) -> Launch:
    line.expect("launch")
    kernel = line.take("word")
    line.expect("(")
    args = tuple(line.take() if line.peek().startswith("%") else line.attr() for _ in line.sequence(")"))
    return Launch(kernel, args, line.attr() if line.peek() else {})


def _parse_op(line: _Line, comment: str) -> Op:
    results = tuple(line.result() for _ in line.sequence(")")) if line.eat("(") else (line.result(),)
    device = line.take("word") if line.eat("@") else None
    line.expect("=")
    kind = line.take("word")
    line.expect("(")
    operands = tuple(line.take("value")[1:] for _ in line.sequence(")"))
    attrs = line.attr() if line.peek() == "{" else {}
    if line.peek():
        raise line.error(f"unexpected {line.peek()!r}")
    layer, _, location = comment.strip().partition(" ")
    return Op(kind, operands, results, attrs, device, "" if layer == "-" else layer, location)
