"""On a real GPU: every kernel against its reference, two towers against the CPU backend. ``pytest -m gpu``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from alexdsl_cuda import backend as make_backend
from alexdsl_cuda import probe

from alexdsl.ir.backend import Unavailable
from alexdsl.program import compile
from alexdsl.spec import load
from tests.backends.chains import CHAINS, Target, check_layer, values
from tests.cuda.two_towers import assert_same, trained
from tests.layers.samples import SAMPLES, Sample

pytestmark = pytest.mark.gpu
GPU = Target(make_backend, "cuda:0")
SPECS = Path(__file__).parents[2] / "specs"


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> None:
    try:
        probe.gpus()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_kernels_are_the_references(sample: Sample) -> None:
    check_layer(GPU, sample)


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_right(name: str) -> None:
    weights = [leaf for leaf in CHAINS[name].leaves if leaf == "w"]
    chain = CHAINS[name].chain(weights=weights)
    chain.check(GPU, values(chain))


@pytest.mark.parametrize("device", ["cuda", {"gpu0": "cuda:0", "gpu1": "cuda:0"}])
def test_two_towers_agree_with_the_cpu(device: str | dict[str, str]) -> None:
    """On two GPUs where there are two, and as two logical devices of one."""
    assert_same(trained("cuda", device, 5), trained("cpu", "cpu", 5))


@pytest.mark.parametrize("spec", ["alexnet", "caffenet", "lenet5", "resnet-18", "vgg-a"])
def test_whole_nets_agree_with_the_cpu(spec: str) -> None:
    batch = 8
    found = []
    for backend, device in (("cpu", "cpu"), ("cuda", "cuda")):
        net = load(SPECS / f"{spec}.net", set={"data.classes": "10"})
        shape = next(op.attrs["shape"] for op in net.graph if op.kind == "input" and "shape" in op.attrs)
        images = np.random.default_rng(4).normal(size=(batch, *shape)).astype(np.float32) * 50
        program = compile(net, backend, batch=batch, device=device)
        found.append(program.gradients(images, np.arange(batch) % 10))
        program.close()
    (loss, gradients), (other, others) = found
    assert other == pytest.approx(loss, rel=1e-4)
    for name, gradient in gradients.items():
        error = np.linalg.norm(others[name].astype(np.float64) - gradient)
        assert error <= 1e-3 * np.linalg.norm(gradient), f"{name}: {error / np.linalg.norm(gradient):.2g}"


def test_a_step_makes_no_memory() -> None:
    from cuda.bindings import driver

    program = compile(load(SPECS / "lenet5.net"), "cuda", device="cuda:0")
    images = np.random.default_rng(0).normal(size=(program.batch, 1, 32, 32)).astype(np.float32)
    labels = np.zeros(program.batch, np.int64)
    program.step(images, labels)
    _, before, _ = driver.cuMemGetInfo()
    for _ in range(20):
        program.step(images, labels)
    _, after, _ = driver.cuMemGetInfo()
    program.close()
    assert after == before
