"""What solvers share on the CPU: one pass over the arrays of one parameter or of several, in place."""

from __future__ import annotations

from collections.abc import Sequence

from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import KernelFunction
from alexdsl.ir.offers import several
from alexdsl.ir.protocol import SolverKind, Types
from alexdsl_cpu.offer import Call, Constants, Offer

BLOCK = 4096


class Update(Offer):
    """A solver's kernel. It takes the scalars, the numbers, the blocks of a parameter and the arrays of every one; some
    of a small parameter's blocks find nothing to do."""

    function: KernelFunction
    numbers: Sequence[str] = ()
    """The op's attributes that the kernel takes."""

    def constants(self, op: Op) -> Constants:
        """What the kernel is compiled for, beside BLOCK."""
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
        blocks = -(-max(found[0].elements for found in self.kind(op).split(operands)[0]) // BLOCK)
        function = several(self.function, len(arrays))
        constants = {"BLOCK": BLOCK, **self.constants(op)}
        return [Call(function, (*scalars, *numbers, blocks, *arrays), len(parameters) * blocks, constants, grain=16)]
