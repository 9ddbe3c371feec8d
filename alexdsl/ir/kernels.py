"""Turns kernel functions into stand-alone source: constants first, then the helpers they reach, then the kernel.

A backend writes kernels as plain Python functions. Positional parameters are annotated with names of the backend's
array and number types; keyword-only parameters are constants of the generated source, numbers or scalar functions.
What comes out can be read, compiled and cached by itself: no other source of the project is reachable from it.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Protocol

from alexdsl.ir.graph import Attr, Attrs
from alexdsl.ir.protocol import OpKind


@dataclass(frozen=True, eq=False)
class KernelFunction:
    """A function marked as a kernel, or as a helper that kernels call."""

    function: Callable[..., Any]

    @property
    def name(self) -> str:
        return self.function.__name__

    @cached_property
    def _tree(self) -> ast.FunctionDef:
        tree = ast.parse(self._text).body[0]
        assert isinstance(tree, ast.FunctionDef)
        return tree

    @cached_property
    def _text(self) -> str:
        return textwrap.dedent(inspect.getsource(self.function))

    @cached_property
    def parameters(self) -> Sequence[tuple[str, str]]:
        """(name, annotation) of the run-time parameters."""
        return [(a.arg, ast.unparse(a.annotation) if a.annotation else "") for a in self._tree.args.args]

    @cached_property
    def constants(self) -> Sequence[str]:
        return [a.arg for a in self._tree.args.kwonlyargs]

    @cached_property
    def body(self) -> str:
        """The function's text below its signature, comments and all."""
        lines = self._text.splitlines()
        return "\n".join(lines[self._tree.body[0].lineno - 1 :])

    @cached_property
    def helpers(self) -> Sequence[KernelFunction]:
        """The helpers that the function reaches, those called by others first."""
        found: dict[str, KernelFunction] = {}
        for name in self.function.__code__.co_names:
            helper = self.function.__globals__.get(name)
            if isinstance(helper, KernelFunction):
                found |= {h.name: h for h in (*helper.helpers, helper)}
        return list(found.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function as the plain Python that it is."""
        return self.function(*args, **kwargs)


def kernel(function: Callable[..., Any]) -> KernelFunction:
    """Mark a function as a kernel or helper."""
    return KernelFunction(function)


@dataclass(frozen=True)
class Scalar:
    """A scalar function as a constant of a kernel: ``lines`` compute ``result`` from ``args``."""

    args: Sequence[str]
    lines: Sequence[str]
    result: str


class Dialect(Protocol):
    """How a backend's compiler of kernels is spoken to."""

    imports: str
    functions: Mapping[str, str]
    """Names of scalar functions in expressions (``exp``) and what calls them (``math.exp``)."""

    def kernel_decorator(self, annotations: Sequence[str]) -> str: ...

    def helper_decorator(self) -> str: ...

    def number(self, value: float) -> str:
        """A float32 literal."""


def render(function: KernelFunction, constants: Mapping[str, int | float | bool | Scalar], dialect: Dialect) -> str:
    """The stand-alone source of a kernel; its function is called ``kernel``. Raises TypeError for a wrong constant."""
    needed = [*function.constants, *(c for h in function.helpers for c in h.constants)]
    if set(needed) != set(constants):
        raise TypeError(f"{function.name} takes constants {sorted(set(needed))}, not {sorted(constants)}")
    doc = inspect.getdoc(function.function) or function.name
    blocks = [f'"""{doc}"""', dialect.imports]
    numbers = [
        f"{name} = {_literal(value, dialect)}" for name, value in constants.items() if not isinstance(value, Scalar)
    ]
    if numbers:
        blocks.append("\n".join(numbers))
    for name, value in constants.items():
        if isinstance(value, Scalar):
            lines = [*value.lines, f"return {value.result}"]
            body = "\n".join(f"    {line}" for line in lines)
            blocks.append(f"{dialect.helper_decorator()}\ndef {name}({', '.join(value.args)}):\n{body}")
    for helper in function.helpers:
        names = ", ".join(name for name, _ in helper.parameters)
        blocks.append(f"{dialect.helper_decorator()}\ndef {helper.name}({names}):\n{helper.body}")
    names = ", ".join(name for name, _ in function.parameters)
    decorator = dialect.kernel_decorator([annotation for _, annotation in function.parameters])
    blocks.append(f"{decorator}\ndef kernel({names}):\n{function.body}")
    return "\n\n\n".join(blocks) + "\n"


def _literal(value: int | float | bool, dialect: Dialect) -> str:
    return dialect.number(value) if isinstance(value, float) else repr(value)


def fingerprint(source: str) -> str:
    """Twelve hex digits that name a kernel's source."""
    return blake2b(source.encode(), digest_size=6).hexdigest()


def scalar_chain(kinds: Sequence[OpKind], attrs: Sequence[Attrs], dialect: Dialect, first: str = "v") -> Scalar:
    """The scalar function of elementwise ops one after the other: ``first``, then every op's further operands."""
    args, lines, value = [first], [], first
    for position, (kind, given) in enumerate(zip(kinds, attrs, strict=True)):
        assert kind.scalar is not None
        names = {kind.scalar_operands[0]: value}
        for operand in kind.scalar_operands[1:]:
            names[operand] = f"{operand}{position}"
            args.append(names[operand])
        lines.append(f"t{position} = {expression(kind.scalar, names, given, dialect)}")
        value = f"t{position}"
    return Scalar(args, lines, value)


def expression(text: str, names: Mapping[str, str], attrs: Mapping[str, Attr], dialect: Dialect) -> str:
    """A scalar expression in a dialect: operands renamed, attributes and numbers as float32 literals."""
    return ast.unparse(_Translate(names, attrs, dialect).visit(ast.parse(text, mode="eval").body))


class _Translate(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str], attrs: Mapping[str, Attr], dialect: Dialect) -> None:
        self.names, self.attrs, self.dialect = names, attrs, dialect

    def _parsed(self, text: str) -> ast.expr:
        return ast.parse(text, mode="eval").body

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        assert isinstance(node.value, int | float)
        return self._parsed(self.dialect.number(float(node.value)))

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.names:
            return self._parsed(self.names[node.id])
        return self._parsed(self.dialect.number(float(self.attrs[node.id])))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name)
        args = [self.visit(a) for a in node.args]
        if node.func.id in ("max", "min"):
            # A comparison that keeps the first argument where it is not a number, so that NaN is not swallowed.
            first, second = (ast.unparse(a) for a in args)
            sign = "<" if node.func.id == "max" else ">"
            return self._parsed(f"({second} if {first} {sign} {second} else {first})")
        return self._parsed(f"{self.dialect.functions[node.func.id]}({', '.join(map(ast.unparse, args))})")
