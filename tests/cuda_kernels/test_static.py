"""What the kernels of whole nets' training compile to, offline: no doubles, no memory of threads' own, no calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import pytest
from alexdsl_cpu.conv import Conv
from alexdsl_cpu.linear import Linear
from alexdsl_cuda.backend import CudaBackend
from alexdsl_cuda.offer import Call
from alexdsl_cuda.quads import flat
from alexdsl_cuda.structure import constant

from alexdsl.ir.backend import Strategy
from alexdsl.ir.graph import Launch, Op
from alexdsl.ir.protocol import OpKind, Types
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.spec import load
from tests.cuda_kernels.cases import NEEDS_NUMBA_CUDA, PRODUCTS, REGISTRY

SPECS = Path(__file__).parents[2] / "specs"
NETS = ("alexnet", "resnet-18", "lenet5")


class _Elsewhere:
    """Stands in for convolutions and linear layers, whose kernels are tested beside theirs: one launch, of no use."""

    def strategies(self, op: Op, operands: Types, results: Types) -> Sequence[Strategy]:
        return (Strategy(""),)

    def calls(self, op: Op, operands: Types, results: Types) -> Sequence[Call]:
        return [flat(constant, (f"%{op.name}", 0.0), 1, {})]


class _Conv(_Elsewhere, Conv):  # type: ignore[misc]
    pass


class _Linear(_Elsewhere, Linear):  # type: ignore[misc]
    pass


class _Others(CudaBackend):
    """The CUDA backend without products."""

    def offer(self, kinds: Sequence[OpKind], name: str = "") -> object:  # type: ignore[override]
        if kinds[0].name in PRODUCTS:
            return (_Conv if kinds[0].name.startswith("conv") else _Linear)(self.registry)
        return CudaBackend(self.registry).offer(kinds, name)


def launches(net: str) -> Mapping[str, tuple[Op, Launch, str]]:
    """A net's training step: an op, a launch and the source for every kernel that is not a product's."""
    spec = load(SPECS / f"{net}.net")
    program = at_stage(spec.graph, Options(REGISTRY, _Others(REGISTRY), "train"), "program")
    return {
        launch.kernel: (op, launch, program.kernels[launch.kernel])
        for op in program
        for launch in op.launches
        if op.kind.split("+")[0] not in PRODUCTS
    }


@NEEDS_NUMBA_CUDA
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
@pytest.mark.parametrize("net", NETS)
def test_kernels_stay_in_registers(net: str, capability: tuple[int, int]) -> None:
    from alexdsl_cuda.analysis import analyse
    from alexdsl_cuda.compiler import compile_ptx

    for name, (op, launch, source) in launches(net).items():
        ptx = compile_ptx(source, capability)
        assert [word for word in (".f64", ".local", "call") if word in ptx] == [], (name, op.kind)
        threads = prod(launch.attrs["block"])
        report = analyse(source, capability, threads)
        assert (report.stack, report.spills, report.local, report.doubles) == (0, 0, 0, 0), (name, op.kind)
        assert report.registers * threads <= 65536, (name, op.kind)
        # The fused pooling's blocks are few because of their shared memory.
        if threads >= 128 and op.kind != "lrn+maxpool":
            assert report.occupancy >= 0.5, (name, op.kind, report)


@pytest.mark.parametrize("net", NETS)
def test_kernels_of_a_net_are_few(net: str) -> None:
    # A kernel takes a second to compile the first time; ResNet's normalisations have five shapes.
    assert len(launches(net)) <= {"alexnet": 30, "resnet-18": 50, "lenet5": 20}[net]
