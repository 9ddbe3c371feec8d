"""What backends of generated kernels are made of: kernel files that offer ops, and the shell around them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from typing import ClassVar, Generic, TypeAlias, TypeVar

from alexdsl.ir.backend import Gap, Strategy
from alexdsl.ir.graph import Attrs, Graph, Launch, Op
from alexdsl.ir.kernels import Dialect, KernelFunction, Scalar, fingerprint, render, scalar_chain
from alexdsl.ir.layouts import FILTERS, rows_of
from alexdsl.ir.protocol import LayerKind, OpKind, Registry, SolverKind, Types
from alexdsl.ir.semantics import steps
from alexdsl.ir.structure import LEAVES

Constants: TypeAlias = Mapping[str, int | float | bool | Scalar]
Args: TypeAlias = Sequence[str | int | float]
"""``"%name"`` for arrays, ``"workspace"``, and numbers."""
C = TypeVar("C")
"""A backend's kernel call."""


class Offer(Generic[C]):
    """Kernels for the op kinds in ``heads`` and for chains that begin with them; a head may be two kinds, ``a+b``."""

    heads: Sequence[str] = ()

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        """Whether a kernel computes the whole chain; see ``Backend.fuses``."""
        return False

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        """The layouts of operands and results."""
        return [rows_of(t) for t in operands], [rows_of(t) for t in results]

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        """The ways of computing an op."""
        return (Strategy(""),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[C]:
        """The kernel calls of an op under its chosen strategy."""
        raise NotImplementedError


class SolverOffer(Offer[C]):
    """A solver's kernel: one pass over the arrays of one parameter or of several, in place."""

    function: KernelFunction
    numbers: Sequence[str] = ()
    """The op's attributes that the kernel takes."""

    def constants(self, op: Op) -> Constants:
        """What the kernel is compiled for, beside what its backend adds."""
        return {}

    def kind(self, op: Op) -> SolverKind:
        return self.registry.solvers[op.kind]

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        parameters, scalars = self.kind(op).split(operands)
        each = [(found[0].layout, len(found)) for found in parameters]
        taken = [layout for layout, count in each for _ in range(count)]
        return [*taken, *[""] * len(scalars)], [layout for layout, count in each for _ in range(count - 1)]

    def elements(self, op: Op, operands: Types) -> Sequence[int]:
        """How many numbers each parameter has."""
        return [found[0].elements for found in self.kind(op).split(operands)[0]]

    def arguments(self, op: Op) -> tuple[KernelFunction, Args, Args]:
        """The kernel for so many arrays; the scalars and numbers that it takes first; the arrays that it takes last."""
        parameters, scalars = self.kind(op).split([f"%{name}" for name in op.operands])
        arrays = [name for found in parameters for name in found]
        numbers = [float(op.attrs[key]) for key in self.numbers]
        return several(self.function, len(arrays)), [*scalars, *numbers], arrays


class OfferedBackend(Generic[C]):
    """The half of a backend that the compiler asks: who answers for an op, and the lowering to launches."""

    name: ClassVar[str]
    dialect: ClassVar[Dialect]
    files: ClassVar[Sequence[str]]
    """Offers by their names in the backend's package (``conv.Conv``); the last answers for chains of elementwise kinds
    that no other has as its head."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @cached_property
    def _offers(self) -> Mapping[str, Offer[C]]:
        package = type(self).__module__.rpartition(".")[0]
        places = [name.rpartition(".") for name in self.files]
        offers: list[Offer[C]] = [
            getattr(import_module(f"{package}.{module}"), offer)(self.registry) for module, _, offer in places
        ]
        return {head: offer for offer in offers for head in offer.heads} | {"": offers[-1]}

    def offer(self, kinds: Sequence[OpKind], name: str = "") -> Offer[C]:
        """Who answers for an op or chain. Raises Gap."""
        pair = "+".join(kind.name for kind in kinds[:2])
        found = self._offers.get(pair) or self._offers.get(kinds[0].name)
        if found is None and kinds[0].scalar is not None:
            found = self._offers[""]
        if found is None:
            where = f" (%{name})" if name else ""
            raise Gap(f"the {self.name} backend has no kernel for '{kinds[0].name}'{where}")
        return found

    def _of(self, op: Op) -> Offer[C]:
        return self.offer([self.registry[name] for name in op.kind.split("+")], op.name)

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return self.offer(chain).fuses(chain, keeps)

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        if op.kind in LEAVES:
            weights = op.kind != "input" and len(results[0].shape) == 4
            return [], [FILTERS if weights else rows_of(results[0])]
        return self._of(op).layouts(op, operands, results)

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return self._of(op).strategies(op, operands, results)

    def lower(self, graph: Graph) -> Graph:
        kernels: dict[str, str] = {}
        ops = []
        for op in graph:
            if op.kind in LEAVES:
                ops.append(op)
                continue
            calls = self._of(op).calls(op, graph.types(op.operands), graph.types(r.name for r in op.results))
            ops.append(replace(op, launches=tuple(self.launch(call, kernels) for call in calls)))
        return graph.with_ops(ops, stage="program", kernels=kernels)

    def launch(self, call: C, kernels: dict[str, str]) -> Launch:
        """A call as the launch of a kernel, whose source is added to ``kernels``."""
        raise NotImplementedError

    def rendered(self, function: KernelFunction, constants: Constants, kernels: dict[str, str]) -> str:
        """The name of a kernel, its source added to ``kernels``."""
        source = render(function, constants, self.dialect)
        name = f"{function.name}_{fingerprint(source)}"
        kernels[name] = source
        return name


class _Retyped(KernelFunction):
    """A kernel function some of whose parameters have other types."""

    def __init__(self, function: KernelFunction, types: Mapping[str, str]) -> None:
        super().__init__(function.function)
        object.__setattr__(self, "_types", types)
        object.__setattr__(self, "_given", function.parameters)

    @property
    def parameters(self) -> Sequence[tuple[str, str]]:
        types: Mapping[str, str] = self.__dict__["_types"]
        return [(name, types.get(name, given)) for name, given in self.__dict__["_given"]]


def retyped(function: KernelFunction, **types: str) -> KernelFunction:
    """The kernel function with other annotations for these parameters."""
    return _Retyped(function, types)


class _Several(KernelFunction):
    """A kernel function of ``*arrays`` that takes a certain number of them."""

    def __init__(self, function: KernelFunction, count: int) -> None:
        super().__init__(function.function)
        object.__setattr__(self, "_count", count)

    @property
    def parameters(self) -> Sequence[tuple[str, str]]:
        rest = self._tree.args.vararg
        assert rest is not None
        assert rest.annotation is not None
        annotation = ast.unparse(rest.annotation)
        return [*super().parameters, *((f"{rest.arg}_{i}", annotation) for i in range(self.__dict__["_count"]))]

    @property
    def body(self) -> str:
        """The function's text below its signature, with the arrays made a tuple where the docstring ends."""
        rest = self._tree.args.vararg
        assert rest is not None
        names = [f"{rest.arg}_{i}" for i in range(self.__dict__["_count"])]
        first, last = self._tree.body[0].lineno - 1, self._tree.body[0].end_lineno
        lines = self._text.splitlines()
        return "\n".join([*lines[first:last], f"    {rest.arg} = ({', '.join(names)})", *lines[last:]])


def several(function: KernelFunction, count: int) -> KernelFunction:
    """The kernel function with its ``*arrays`` so many parameters, two or more, as compilers of kernels want it."""
    return _Several(function, count)


def head_attrs(op: Op) -> Attrs:
    """The attributes of an op's head: the first member of a chain, or the op itself."""
    return op.attrs["steps"][0]["attrs"] if "+" in op.kind else op.attrs


def tail_of(op: Op, registry: Registry, dialect: Dialect, heads: int = 1) -> Scalar:
    """The scalar function of all members after the head (the first ``heads``); the identity where there are none."""
    members = steps(op.attrs)[heads:] if "+" in op.kind else []
    return scalar_chain([registry[m.kind] for m in members], [m.attrs for m in members], dialect)


def whole_chain(op: Op, registry: Registry, dialect: Dialect) -> Scalar:
    """The scalar function of an elementwise op, or of a chain of them."""
    kinds = [registry[name] for name in op.kind.split("+")]
    attrs = [s.attrs for s in steps(op.attrs)] if "+" in op.kind else [op.attrs]
    return scalar_chain(kinds, attrs, dialect)


def scalars(chain: Sequence[OpKind]) -> bool:
    """Whether all kinds are elementwise, of as many operands as their scalar functions have.

    A kind of any number of operands (``add``) is not: its scalar function speaks for two.
    """
    return all(kind.scalar is not None and not (isinstance(kind, LayerKind) and kind.inputs is None) for kind in chain)


def extras(chain: Sequence[OpKind]) -> int:
    """Operands that a chain of elementwise kinds reads beside the value that flows through it."""
    return sum(len(kind.scalar_operands) - 1 for kind in chain)


def is_tail(chain: Sequence[OpKind]) -> bool:
    """Whether a kernel with one further operand can apply the kinds to each number that it writes."""
    return scalars(chain) and extras(chain) <= 1


def with_extra(scalar: Scalar) -> Scalar:
    """A scalar function that takes exactly one further operand, used or not, so that one kernel serves both cases."""
    return scalar if len(scalar.args) == 2 else replace(scalar, args=(*scalar.args, "_"))
