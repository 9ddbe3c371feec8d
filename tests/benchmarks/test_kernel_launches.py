"""The launches of a net's step: none is left out, each is told apart, and sampled blocks are of its grid."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

import pytest

from benchmarks import kernels
from benchmarks.kernels_launches import Net, Subject, largest, of_net, program
from benchmarks.kernels_measured import LONGEST, SHORTEST, sample

BATCH = 8
needs_compiler = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="needs numba-cuda to compile kernels: pip install alexdsl[cuda]"
)


@pytest.fixture(scope="module")
def net() -> Net:
    return of_net("alexnet", BATCH, "fp32")


def test_every_launch_is_counted(net: Net) -> None:
    graph = program("alexnet", BATCH, "fp32")
    launches = [launch for op in graph for launch in op.launches]
    assert sum(s.times for s in net.subjects) == len(launches)
    assert {s.kernel for s in net.subjects} == set(graph.kernels) == set(largest(net.subjects))
    assert all(found.blocks == max(s.blocks for s in net.subjects if s.kernel == found.kernel)
               for found in largest(net.subjects).values())  # fmt: skip


def test_products_are_known(net: Net) -> None:
    """AlexNet's multiply-adds for an image, forward, and both gradients but that of the image."""
    forward, conv1 = 655_000_000 + 59_000_000, 105_415_200
    total = sum(s.useful * s.times for s in net.subjects)
    assert total == pytest.approx(BATCH * (3 * forward - conv1), rel=0.05)
    assert sum(s.part for s in net.subjects) == pytest.approx(1)
    assert sum(s.multiplies for s in net.subjects) >= 20
    assert all(s.executed >= s.useful > 0 for s in net.subjects if s.multiplies)
    assert all(s.useful == 0 for s in net.subjects if not s.multiplies)
    assert {s.inputs for s in net.subjects if s.layer.startswith("conv1.conv")} == {3}
    assert net.floor[0][0] > 0


def test_products_in_bf16_are_known_by_their_warps(net: Net) -> None:
    halves = of_net("alexnet", BATCH, "bf16")
    products = [s for s in halves.subjects if s.multiplies]
    assert {s.layer.split(".")[0] for s in products if s.precision == "fp32"} == {"conv1"}
    assert all(s.kernel.startswith("tensor") for s in products if s.precision == "bf16")
    assert {tuple(s.warp) for s in products if s.op.startswith("conv4")} == {(64, 64)}
    assert {s.precision for s in net.subjects} == {"fp32"}
    assert {precision for _, _, precision in halves.floor} == {"fp32", "bf16"}
    assert sum(s.useful * s.times for s in products) == sum(s.useful * s.times for s in net.subjects)


def test_arrays_are_as_large_as_they_are(net: Net) -> None:
    (norm,) = [s for s in net.subjects if s.op == "conv1.maxpool.0"]
    maps, pooled = 4 * BATCH * 48 * 55 * 55, BATCH * 48 * 27 * 27
    assert norm.compulsory == maps + 5 * pooled
    assert norm.bytes == pytest.approx(norm.compulsory, rel=0.01)


@pytest.mark.parametrize("grid", [(1, 1, 1), (7, 2, 3), (5000, 1, 1), (100, 100, 2)])
@pytest.mark.parametrize("size", [4, 40_000_000_000])
def test_runs_of_neighbouring_blocks_are_sampled(grid: tuple[int, int, int], size: int, net: Net) -> None:
    subject = next(s for s in net.subjects if not s.multiplies)
    found = sample(replace(subject, grid=grid, args=[replace(subject.args[0], name="x", count=size // 4)]))
    numbers = [y + grid[1] * (x + grid[0] * z) for x, y, z in found]
    total = grid[0] * grid[1] * grid[2]
    assert numbers[0] == 0
    assert numbers[-1] == total - 1
    assert all(a < b for a, b in pairwise(numbers))
    run = SHORTEST if size > 100_000_000 else LONGEST
    if total > 3 * run:
        assert len(numbers) == 3 * run
        assert sum(b > a + 1 for a, b in pairwise(numbers)) == 2
    else:
        assert len(numbers) == total


def test_of_a_product_a_block_of_every_phase_is_sampled(net: Net) -> None:
    subject = next(s for s in net.subjects if s.multiplies)
    assert sample(replace(subject, grid=(9, 1, 4))) == [(4, 0, z) for z in range(4)]
    assert sample(replace(subject, grid=(9, 1, 10))) == [(4, 0, 5)]


@needs_compiler
def test_seconds_are_remembered(tmp_path: object, monkeypatch: pytest.MonkeyPatch, net: Net) -> None:
    from benchmarks import kernels_measured

    monkeypatch.setenv("ALEXDSL_CACHE", str(tmp_path))
    source = next(s.source for s in net.subjects if s.kernel.startswith("sgd"))
    kernels_measured.warm_up()
    first = kernels_measured.compile_seconds(source, (8, 0))
    assert first > kernels_measured.CACHED
    monkeypatch.setattr(kernels_measured, "compile_ptx", None)
    assert kernels_measured.compile_seconds(source, (8, 0)) == pytest.approx(first, abs=1e-3)


def _subject(net: Net, name: str) -> Subject:
    return next(s for s in net.subjects if s.op == name)


@needs_compiler
@pytest.mark.slow
def test_the_command_names_what_falls_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["conv1.maxpool.0", "fc7.dropout.grad.slice_0"]
    net = of_net("alexnet", BATCH, "fp32")
    chosen = replace(net, subjects=[_subject(net, name) for name in few])
    monkeypatch.setattr(kernels, "of_net", lambda name, batch, precision: chosen)
    monkeypatch.setattr("benchmarks.kernels_bars.SECTORS", 0.5)
    monkeypatch.setattr(
        sys, "argv", ["kernels", "--specs", "alexnet", "--arch", "sm_80", "--precision", "fp32", "--json"]
    )
    assert kernels.main() == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert [row["op"] for row in found["launches"]] == few
    assert any("times the sectors" in words for missed in found["short"].values() for words in missed)
    predicted = found["predicted"]["A100 SXM 80 GB"]
    assert 0 < predicted["seconds"] < 0.01
    monkeypatch.undo()
