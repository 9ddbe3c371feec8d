"""What solvers share on CUDA: blocks that each work on one parameter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import Scalar
from alexdsl.ir.offers import SolverOffer
from alexdsl.ir.protocol import Types
from alexdsl_cuda.offer import THREADS, Call, Constants
from alexdsl_cuda.quads import size_of, whole_warps


class Update(SolverOffer[Call]):
    """A solver's kernel. It takes the scalars, the numbers and the arrays of every parameter, and SIZE, PARAMETER and
    BEFORE among its constants: a block works on one parameter, a thread on SIZE of its elements."""

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        function, first, arrays = self.arguments(op)
        elements = self.elements(op, operands)
        size = size_of(*elements)
        block = min(THREADS, whole_warps(max(elements) // size))
        ends = list(accumulate(-(-count // (size * block)) for count in elements))
        constants: Constants = {
            "SIZE": size,
            "PARAMETER": _rising((end, 1) for end in ends[:-1]),
            "BEFORE": _rising((end, end - start) for start, end in pairwise([0, *ends[:-1]])),
            **self.constants(op),
        }
        return [Call(function, (*first, *arrays), (ends[-1], 1, 1), constants, (block, 1, 1))]


def _rising(steps: Iterable[tuple[int, int]]) -> Scalar:
    """A function of a block's number that rises from 0 at each of these blocks by so much."""
    return Scalar(("block",), (), " + ".join(f"({by} if block >= {at} else 0)" for at, by in steps) or "0")
