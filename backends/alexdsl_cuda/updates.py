"""What solvers share on CUDA: one pass over the arrays of one parameter or of several, in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import KernelFunction, Scalar
from alexdsl.ir.offers import several
from alexdsl.ir.protocol import SolverKind, Types
from alexdsl_cuda.offer import THREADS, Call, Constants, Offer
from alexdsl_cuda.quads import size_of, whole_warps


class Update(Offer):
    """A solver's kernel. It takes the scalars, the numbers and the arrays of every parameter, and SIZE, PARAMETER and
    BEFORE among its constants: a block works on one parameter, a thread on SIZE of its elements."""

    function: KernelFunction
    numbers: Sequence[str] = ()
    """The op's attributes that the kernel takes."""

    def constants(self, op: Op) -> Constants:
        """What the kernel is compiled for, beside SIZE, PARAMETER and BEFORE."""
        return {}

    def kind(self, op: Op) -> SolverKind:
        return self.registry.solvers[op.kind]

    def layouts(self, op: Op, operands: Types, results: Types) -> tuple[Sequence[str], Sequence[str]]:
        parameters, scalars = self.kind(op).split(operands)
        each = [(found[0].layout, len(found)) for found in parameters]
        taken = [layout for layout, count in each for _ in range(count)]
        return [*taken, *[""] * len(scalars)], [layout for layout, count in each for _ in range(count - 1)]

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        parameters, scalars = self.kind(op).split([f"%{name}" for name in op.operands])
        arrays = [name for found in parameters for name in found]
        numbers = [float(op.attrs[key]) for key in self.numbers]
        elements = [found[0].elements for found in self.kind(op).split(operands)[0]]
        size = size_of(*elements)
        block = min(THREADS, whole_warps(max(elements) // size))
        ends = list(accumulate(-(-count // (size * block)) for count in elements))
        constants: Constants = {
            "SIZE": size,
            "PARAMETER": _rising((end, 1) for end in ends[:-1]),
            "BEFORE": _rising((end, end - start) for start, end in pairwise([0, *ends[:-1]])),
            **self.constants(op),
        }
        function = several(self.function, len(arrays))
        return [Call(function, (*scalars, *numbers, *arrays), (ends[-1], 1, 1), constants, (block, 1, 1))]


def _rising(steps: Iterable[tuple[int, int]]) -> Scalar:
    """A function of a block's number that rises from 0 at each of these blocks by so much."""
    return Scalar(("block",), (), " + ".join(f"({by} if block >= {at} else 0)" for at, by in steps) or "0")
