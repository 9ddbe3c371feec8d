"""From the syntax tree back to text; reading that text gives the same tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from alexdsl.language import syntax
from alexdsl.language.syntax import Expr, File, Node, Stmt

_STEP = "    "
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


def unparse(node: Node) -> str:
    """The canonical text of a file, a statement or an expression."""
    if isinstance(node, File):
        from alexdsl.language.formatter import format_text

        return format_text(_file(node))
    if isinstance(node, Expr):
        return _expr(node)
    if isinstance(node, syntax.Setting):
        return _setting(node)
    if isinstance(node, syntax.Arg):
        return _arg(node)
    if isinstance(node, syntax.Param):
        return _param(node)
    if isinstance(node, syntax.SolverBlock):
        return _solver_block(node)
    if isinstance(node, Stmt):
        return "\n".join(_statement(node))
    raise TypeError(f"{type(node).__name__} has no text of its own")


def _file(file: File) -> str:
    lines: list[str] = []
    for statement in file.statements:
        text = _statement(statement)
        if len(text) > 1 and lines:
            lines.append("")
        lines += text
        if len(text) > 1:
            lines.append("")
    return "".join(f"{line}\n" for line in lines)


def _statement(node: Stmt) -> list[str]:
    match node:
        case syntax.Language(version):
            return [f"language {version}"]
        case syntax.Net(name):
            return [f"net {name}"]
        case syntax.Include(path):
            return [f"include {_expr(path)}"]
        case syntax.Const(name, value):
            return [f"const {name} = {_expr(value)}"]
        case syntax.Input(name, shape):
            return [f"input {name} {_expr(shape)}"]
        case syntax.Assign(name, value):
            return [f"{name} = {_expr(value)}"]
        case syntax.ChainStatement(value):
            return [_expr(value)]
        case syntax.Def(name, params, body):
            return _block(f"def {name}({', '.join(map(_param, params))})", body)
        case syntax.RepeatStatement(name, count, body):
            return _block(f"{f'{name} = ' if name else ''}repeat {_expr(count)}", body)
        case syntax.Group(name, towers, body):
            return _block(f"group {name}({_expr(towers)})", body)
        case syntax.Default(kinds, settings):
            return [f"default {', '.join(kinds)} {_inline(settings)}"]
        case syntax.Place(target, by, keyword, devices):
            axis = f" by {by}" if by else ""
            return [f"place {_bare(target)}{axis} {keyword} {_bare(devices)}"]
        case syntax.Solver(kind, settings, blocks):
            return [f"solver {kind} {{", *_indent(map(_setting, settings)), *_indent(map(_solver_block, blocks)), "}"]
        case syntax.Data(name, settings):
            return [f"data {name} {{", *_indent(map(_setting, settings)), "}"]
        case syntax.Report(items):
            return [f"report {', '.join(map(_expr, items))}"]
        case _:
            assert_never(node)


def _indent(lines: Iterable[str]) -> list[str]:
    return [_STEP + line for line in lines]


def _block(head: str, body: tuple[Stmt, ...]) -> list[str]:
    return [f"{head} {{", *_indent(line for statement in body for line in _statement(statement)), "}"]


def _inline(settings: tuple[syntax.Setting, ...]) -> str:
    return f"{{ {', '.join(map(_setting, settings))} }}" if settings else "{ }"


def _solver_block(block: syntax.SolverBlock) -> str:
    return f"{', '.join(map(_expr, block.selectors))} {_inline(block.settings)}"


def _setting(setting: syntax.Setting) -> str:
    return f"{setting.name} = {_expr(setting.value, spaced=True)}"


def _param(param: syntax.Param) -> str:
    return param.name if param.default is None else f"{param.name} = {_expr(param.default)}"


def _bare(node: Expr) -> str:
    """Names between commas; a list among them keeps its brackets."""
    return ", ".join(map(_expr, node.items)) if isinstance(node, syntax.List) else _expr(node)


def _arg(arg: syntax.Arg, spaced: bool = False) -> str:
    value = _expr(arg.value, spaced)
    if arg.name is None:
        return value
    return f"{arg.name} = {value}" if spaced else f"{arg.name}={value}"


def _expr(node: Expr, spaced: bool = False) -> str:
    match node:
        case syntax.Number(value, unit):
            return f"{value!r}{unit}"
        case syntax.String(value):
            return _quoted(value)
        case syntax.Name(name):
            return name
        case syntax.Call(name, args):
            return f"{name}({', '.join(_arg(arg, spaced) for arg in args)})"
        case syntax.List(items):
            return f"[{', '.join(_expr(item, spaced) for item in items)}]"
        case syntax.Range(first, last):
            return f"{first}..{last}"
        case syntax.Binary(op, left, right):
            return f"{_operand(left, _PRECEDENCE[op], spaced)} {op} {_operand(right, _PRECEDENCE[op] + 1, spaced)}"
        case syntax.Negate(operand):
            return f"-{_operand(operand, 4, spaced)}"
        case syntax.Chain(steps):
            return " | ".join(_expr(step, spaced) for step in steps)
        case _:
            assert_never(node)


def _operand(node: Expr, least: int, spaced: bool) -> str:
    """An operand, in parentheses where it binds less than it must."""
    text = _expr(node, spaced)
    binds = _PRECEDENCE[node.op] if isinstance(node, syntax.Binary) else 3 if isinstance(node, syntax.Negate) else 4
    return text if binds >= least else f"({text})"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
