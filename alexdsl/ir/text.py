"""The text form of graphs: one line an op, printed and parsed back to an equal graph."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from alexdsl.ir.graph import Attr, Attrs, Graph, Launch, Op, Result
from alexdsl.ir.types import ITEM_BYTES, TensorType

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.+-][A-Za-z0-9_]+)*\Z")
_RESERVED = re.compile(r"(?:none|true|false)\Z|(?:inf|nan)\b")
MOST_NESTED = 32
"""Lists and mappings inside each other in an attribute that is read."""


def print_graph(graph: Graph) -> str:
    """The graph as text; ``parse_graph`` gives an equal graph back."""
    head = {"stage": graph.stage, **graph.attrs}
    lines = [f"graph {_text(graph.name)} {_attrs(head)}"]
    for op in graph.ops:
        lines.append("  " + print_op(op))
        lines += ["    " + _launch(launch) for launch in op.launches]
    lines.append(("  return " + ", ".join(f"{_text(k)}=%{v}" for k, v in graph.outputs.items())).rstrip())
    for name, source in graph.kernels.items():
        if not source.endswith("\n"):
            raise ValueError(f"the source of kernel {name} does not end with a newline")
        lines += ["", f"kernel {name}"]
        lines += [f"  | {line}" if line else "  |" for line in source.split("\n")[:-1]]
    return "\n".join(lines) + "\n"


def print_op(op: Op) -> str:
    """One op as one line."""
    results = ", ".join(_result(r) for r in op.results)
    if len(op.results) != 1:
        results = f"({results})"
    device = f" @{op.device}" if op.device else ""
    operands = ", ".join("%" + name for name in op.operands)
    attrs = f" {_attrs(op.attrs)}" if op.attrs else ""
    comment = f"   # {op.layer or '-'} {op.location}".rstrip() if op.layer or op.location else ""
    return f"{results}{device} = {op.kind}({operands}){attrs}{comment}"


def _launch(launch: Launch) -> str:
    args = ", ".join(a if isinstance(a, str) and a.startswith("%") else print_attr(a) for a in launch.args)
    return f"launch {launch.kernel}({args})" + (f" {_attrs(launch.attrs)}" if launch.attrs else "")


def _result(r: Result) -> str:
    kind = f" : {r.type}" if r.type else ""
    place = f" at {r.offset}" if r.offset is not None else ""
    return f"%{r.name}{kind}{place}"


def _attrs(attrs: Attrs) -> str:
    return "{" + ", ".join(f"{_text(k)}={print_attr(v)}" for k, v in attrs.items()) + "}"


def _text(value: str) -> str:
    return value if _WORD.match(value) and not _RESERVED.match(value) else json.dumps(value)


def print_attr(value: Attr) -> str:
    """An attribute's value: ``none true 3 0.5 word "a text" [1, 2] {a=1}``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(print_attr, value)) + "]"
    if isinstance(value, dict):
        return _attrs(value)
    raise TypeError(f"not an attribute: {value!r}")


_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>\#.*)|(?P<value>%[A-Za-z_][\w.]*)|(?P<string>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<number>-?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|inf\b|nan\b))"""
    r"""|(?P<word>[A-Za-z_]\w*(?:[.+-]\w+)*)|(?P<mark>[(){}\[\],=:@])""",
    re.ASCII,
)


class IRSyntaxError(ValueError):
    """The text is not a graph; the message names the line."""


class _Line:
    """The tokens of one line, read from left to right."""

    def __init__(self, text: str, number: int) -> None:
        self.number = number
        self.comment = ""
        self.tokens = list(self._scan(text))
        self.at = 0
        self.depth = 0

    def _scan(self, text: str) -> Iterator[tuple[str, str]]:
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise self.error(f"unexpected {text[position : position + 10]!r}")
            if match.lastgroup == "comment":
                self.comment = match.group()[1:].strip()
            elif match.lastgroup != "space":
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

    def end(self) -> None:
        if self.peek():
            raise self.error(f"unexpected {self.peek()!r}")

    def integer(self) -> int:
        text = self.take("number")
        if not re.fullmatch(r"-?\d{1,30}", text):
            raise self.error(f"expected a whole number, found {text!r}")
        return int(text)

    def text(self) -> str:
        """A name, quoted where it is no plain word."""
        kind = self.tokens[self.at][0] if self.at < len(self.tokens) else ""
        return self._string(self.take()) if kind == "string" else self.take("word")

    def _string(self, text: str) -> str:
        try:
            return str(json.loads(text))
        except ValueError:
            raise self.error(f"{text} is not a string") from None

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
            return self._string(text)
        if kind == "number":
            if not re.fullmatch(r"-?\d+", text):
                return float(text)
            self.at -= 1
            return self.integer()
        if kind == "word":
            return {"none": None, "true": True, "false": False}.get(text, text)
        if text not in ("[", "{"):
            raise self.error(f"expected a value, found {text!r}")
        self.depth += 1
        if self.depth > MOST_NESTED:
            raise self.error(f"lists and mappings lie more than {MOST_NESTED} deep")
        found: Attr = tuple(self.attr() for _ in self.sequence("]")) if text == "[" else self._mapping()
        self.depth -= 1
        return found

    def attrs(self) -> dict[str, Attr]:
        self.expect("{")
        return self._mapping()

    def _mapping(self) -> dict[str, Attr]:
        found: dict[str, Attr] = {}
        for _ in self.sequence("}"):
            key = self.text()
            if key in found:
                raise self.error(f"'{key}' is given twice")
            self.expect("=")
            found[key] = self.attr()
        return found

    def type(self) -> TensorType:
        dtype = self.take("word")
        if dtype not in ITEM_BYTES:
            raise self.error(f"unknown element type '{dtype}'")
        self.expect("[")
        shape: list[int] = []
        while self.peek() not in ("]", ":"):
            shape.append(self.integer())
            if self.peek() not in ("]", ":"):
                self.expect(",")
        layout = self.take("word") if self.eat(":") else ""
        self.expect("]")
        return TensorType(dtype, tuple(shape), layout)

    def result(self) -> Result:
        name = self.take("value")[1:]
        kind = self.type() if self.eat(":") else None
        offset = self.integer() if self.eat("at") else None
        return Result(name, kind, offset)


def parse_graph(text: str) -> Graph:
    """The graph that ``text`` prints. Raises IRSyntaxError naming the line."""
    reader = _Reader()
    for number, raw in enumerate(text.split("\n"), 1):
        reader.read(raw, number)
    return reader.graph(number)


class _Reader:
    """The parts of a graph, collected line by line."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.attrs: dict[str, Attr] = {}
        self.ops: list[Op] = []
        self.outputs: dict[str, str] | None = None
        self.kernels: dict[str, list[str]] = {}
        self.body: list[str] | None = None

    def read(self, raw: str, number: int) -> None:
        if self.body is not None and raw.startswith("  |"):
            self.body.append(raw[4:])
            return
        line = _Line(raw, number)
        head = line.peek()
        if not head:
            return
        if (head == "graph") != (self.name is None):
            raise line.error("a text holds one graph, and begins with it")
        if self.outputs is not None and head != "kernel":
            raise line.error("only kernels follow what a graph returns")
        if head == "graph":
            self._graph(line)
        elif head == "return":
            self._return(line)
        elif head == "kernel":
            self._kernel(line)
        elif head == "launch":
            if not self.ops:
                raise line.error("a launch without an op")
            self.ops[-1] = replace(self.ops[-1], launches=(*self.ops[-1].launches, _parse_launch(line)))
        else:
            self.ops.append(_parse_op(line))
        line.end()

    def _graph(self, line: _Line) -> None:
        line.take()
        self.name = line.text()
        self.attrs = line.attrs()
        if not isinstance(self.attrs.get("stage"), str):
            raise line.error("the graph's stage is missing")

    def _return(self, line: _Line) -> None:
        line.take()
        self.outputs = {}
        while line.peek():
            key = line.text()
            line.expect("=")
            self.outputs[key] = line.take("value")[1:]
            if line.peek():
                line.expect(",")

    def _kernel(self, line: _Line) -> None:
        line.take()
        name = line.take("word")
        if name in self.kernels:
            raise line.error(f"kernel '{name}' is given twice")
        self.body = self.kernels[name] = []

    def graph(self, last: int) -> Graph:
        if self.name is None or self.outputs is None:
            raise IRSyntaxError(f"line {last}: the text ends too soon")
        sources = {name: "".join(f"{line}\n" for line in lines) for name, lines in self.kernels.items()}
        stage = self.attrs.pop("stage")
        return Graph(self.name, stage, tuple(self.ops), self.outputs, self.attrs, sources)


def _parse_launch(line: _Line) -> Launch:
    line.expect("launch")
    kernel = line.take("word")
    line.expect("(")
    args = tuple(line.take() if line.peek().startswith("%") else line.attr() for _ in line.sequence(")"))
    return Launch(kernel, args, line.attrs() if line.peek() else {})


def _parse_op(line: _Line) -> Op:
    results = tuple(line.result() for _ in line.sequence(")")) if line.eat("(") else (line.result(),)
    device = line.take("word") if line.eat("@") else None
    line.expect("=")
    kind = line.take("word")
    line.expect("(")
    operands = tuple(line.take("value")[1:] for _ in line.sequence(")"))
    attrs = line.attrs() if line.peek() == "{" else {}
    layer, _, location = line.comment.partition(" ")
    return Op(kind, operands, results, attrs, device, "" if layer == "-" else layer, location)
