"""What solvers share on the CPU: blocks of parameters, a unit each."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.offers import SolverOffer
from alexdsl.ir.protocol import Types
from alexdsl_cpu.offer import Call, Constants

BLOCK = 4096


class Update(SolverOffer[Call]):
    """A solver's kernel. It takes the scalars, the numbers, the blocks of a parameter and the arrays of every one, and
    BLOCK among its constants; some of a small parameter's blocks find nothing to do."""

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        function, first, arrays = self.arguments(op)
        elements = self.elements(op, operands)
        blocks = -(-max(elements) // BLOCK)
        constants: Constants = {"BLOCK": BLOCK, **self.constants(op)}
        return [Call(function, (*first, blocks, *arrays), len(elements) * blocks, constants, grain=16)]
