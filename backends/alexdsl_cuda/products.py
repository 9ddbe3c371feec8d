"""What convolution and linear layers share: forward, input gradient and weight gradient as tiled products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.kernels import Scalar
from alexdsl.ir.protocol import OpKind, Types
from alexdsl_cuda.gemm.calls import Plan
from alexdsl_cuda.gemm.geometry import Geometry
from alexdsl_cuda.gemm.plan import plan_forward, plan_input_grad, plan_weight_grad
from alexdsl_cuda.gemm.plan_tensor import plan_tensor_forward, plan_tensor_input_grad, plan_tensor_weight_grad
from alexdsl_cuda.offer import Call, Offer, head_attrs, is_tail, tail, with_extra

SIMT, TENSOR = "simt", "tensor"
"""Strategies: products in fp32, and of operands rounded to bf16."""


class Products(Offer):
    """A layer kind and its two gradients; an epilogue takes elementwise kinds, with at most one further operand."""

    kind: ClassVar[str]

    def fuses(self, chain: Sequence[OpKind], keeps: bool) -> bool:
        return not keeps and self._makes_output(chain[0].name) and is_tail(chain[1:])

    def _makes_output(self, head: str) -> bool:
        """Whether the head's result is one that an epilogue can change on its way to memory."""
        return head != f"{self.kind}_weight_grad"

    def geometry(self, op: Op, operands: Types, results: Types) -> Geometry:
        """The layer's sizes, by its op or one of its gradients'."""
        raise NotImplementedError

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        found = [Strategy(SIMT, 4 * self._simt(op, operands, results).workspace)]
        tensor = self._tensor(op, operands, results)
        if tensor is not None:
            found.append(Strategy(TENSOR, 4 * tensor.workspace, precision="bf16"))
        return tuple(found)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        names = [f"%{name}" for name in op.operands]
        made = [f"%{r.name}" for r in op.results]
        roles = {"workspace": "workspace", "other": names[-1] if len(self._tail(op).args) == 2 else made[0]}
        head = op.kind.split("+")[0]
        if head == f"{self.kind}_input_grad":
            roles |= {"weight": names[0], "dy": names[1], "dx": made[0]}
        elif head == f"{self.kind}_weight_grad":
            roles |= {"x": names[0], "dy": names[1], "dw": made[0], "db": made[-1]}
        else:
            bias = names[2] if head_attrs(op)["bias"] else names[1]
            roles |= {"x": names[0], "weight": names[1], "bias": bias, "y": made[0]}
        return [
            Call(step.function, [roles[role] for role in step.args], step.grid, step.constants, (step.threads, 1, 1))
            for step in self.plan(op, operands, results).steps
        ]

    def _tail(self, op: Op) -> Scalar:
        return tail(op, self.registry)

    def plan(self, op: Op, operands: Types, results: Types) -> Plan:
        """How a scheduled op is computed: by its strategy."""
        tensor = self._tensor(op, operands, results) if op.attrs.get("strategy") == TENSOR else None
        return tensor or self._simt(op, operands, results)

    def _tensor(self, op: Op, operands: Types, results: Types) -> Plan | None:
        """The plan on tensor cores, where the op's sizes suit them."""
        geometry = self.geometry(op, operands, results)
        head = op.kind.split("+")[0]
        if head == f"{self.kind}_weight_grad":
            return plan_tensor_weight_grad(geometry, len(results) == 2)
        epilogue = with_extra(self._tail(op))
        if head == f"{self.kind}_input_grad":
            return plan_tensor_input_grad(geometry, epilogue)
        return plan_tensor_forward(geometry, bool(head_attrs(op)["bias"]), epilogue)

    def _simt(self, op: Op, operands: Types, results: Types) -> Plan:
        geometry = self.geometry(op, operands, results)
        head = op.kind.split("+")[0]
        if head == f"{self.kind}_weight_grad":
            return plan_weight_grad(geometry, len(results) == 2)
        epilogue = with_extra(self._tail(op))
        if head == f"{self.kind}_input_grad":
            return plan_input_grad(geometry, epilogue)
        return plan_forward(geometry, bool(head_attrs(op)["bias"]), epilogue)
