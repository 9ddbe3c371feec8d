"""What the kernels of whole nets' training compile to, offline: no doubles, no memory of threads' own, no calls."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

import pytest
from alexdsl_cuda.backend import CudaBackend

from alexdsl.ir.graph import Launch, Op
from alexdsl.passes.pipeline import Options, at_stage
from alexdsl.spec import load
from tests.cuda_kernels.cases import NEEDS_NUMBA_CUDA, PRODUCTS, REGISTRY

SPECS = Path(__file__).parents[2] / "specs"
NETS = ("alexnet", "resnet-18", "lenet5")
COMPILED = [
    pytest.param(
        net, (major, 0), id=f"{net}-{major}.0", marks=() if (net, major) == ("alexnet", 8) else pytest.mark.slow
    )
    for net in NETS
    for major in (8, 9)
]
"""A net's kernels take half a minute to compile."""


def launches(net: str) -> Mapping[str, tuple[Op, Launch, str]]:
    """A net's training step: an op, a launch and the source for every kernel that is not a product's."""
    spec = load(SPECS / f"{net}.net")
    program = at_stage(spec.graph, Options(REGISTRY, CudaBackend(REGISTRY), "train"), "program")
    return {
        launch.kernel: (op, launch, program.kernels[launch.kernel])
        for op in program
        for launch in op.launches
        if op.kind.split("+")[0] not in PRODUCTS
    }


@NEEDS_NUMBA_CUDA
@pytest.mark.parametrize(("net", "capability"), COMPILED)
def test_kernels_stay_in_registers(net: str, capability: tuple[int, int]) -> None:
    from alexdsl_cuda.analysis import analyse
    from alexdsl_cuda.compiler import compile_ptx

    for name, (op, launch, source) in launches(net).items():
        ptx = compile_ptx(source, capability)
        assert [word for word in (".f64", ".local", "call") if word in ptx] == [], (name, op.kind)
        threads = prod(launch.attrs["block"])
        report = analyse(source, capability, threads)
        assert (report.stack, report.spills, report.local, report.doubles) == (0, 0, 0, 0), (name, op.kind)
        # Divisions and roots by IEEE's rules are calls; statistics divide where they are merged, a few times each.
        assert report.calls == 0 or op.kind.startswith("batch_norm"), (name, op.kind)
        assert report.registers * threads <= 65536, (name, op.kind)
        # The fused pooling's blocks are few because of their shared memory.
        if threads >= 128 and op.kind != "lrn+maxpool":
            assert report.occupancy >= 0.5, (name, op.kind, report)


@pytest.mark.parametrize("net", NETS)
def test_kernels_of_a_net_are_few(net: str) -> None:
    # A kernel takes a second to compile the first time; ResNet's normalisations have five shapes, its gathered updates
    # four.
    assert len(launches(net)) <= {"alexnet": 30, "resnet-18": 52, "lenet5": 20}[net]
