"""Which strategy an op is given: the cheapest in the precision that is asked for, and never silently another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alexdsl.ir.backend import Gap, Strategy
from alexdsl.ir.graph import Op
from alexdsl.ir.protocol import Types
from alexdsl.passes.pipeline import Options, at_stage
from tests.pipeline.example_backend import ExampleBackend
from tests.pipeline.nets import LENET, REGISTRY, bound

SLOW, FAST = Strategy("slow", cost=2.0), Strategy("fast", cost=1.0, workspace=64)
TENSOR = Strategy("tensor", cost=3.0, precision="bf16")


class Choosy(ExampleBackend):
    """Has several ways of computing a convolution."""

    def __init__(self, *convolutions: Strategy) -> None:
        self.convolutions = convolutions

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return self.convolutions if op.kind.startswith("conv+") else super().strategies(op, operands, results)


def _chosen(precision: str, *convolutions: Strategy) -> set[tuple[str, int]]:
    """Names and workspaces of the convolutions' strategies."""
    graph = bound(LENET.replace("epochs = 1", f"epochs = 1, precision = {precision}"))
    scheduled = at_stage(graph, Options(REGISTRY, Choosy(*convolutions)), "scheduled")
    convs = [op for op in scheduled if op.kind.startswith("conv+")]
    assert convs
    return {(op.attrs["strategy"], op.attrs.get("workspace", 0)) for op in convs}


@pytest.mark.parametrize("strategies", [(SLOW, FAST, TENSOR), (TENSOR, FAST, SLOW)])
def test_the_cheapest_in_the_precision_asked_for(strategies: Sequence[Strategy]) -> None:
    assert _chosen("fp32", *strategies) == {("fast", 64)}
    assert _chosen("bf16", *strategies) == {("tensor", 0)}


def test_a_precision_that_nothing_has_is_refused() -> None:
    with pytest.raises(Gap, match="the example backend has no kernels in bf16"):
        _chosen("bf16", SLOW, FAST)
