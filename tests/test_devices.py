"""Where a net runs: what is asked, what is there, and what is said when they do not meet."""

from __future__ import annotations

import pytest
from alexdsl_cuda import probe

from alexdsl.devices import choose
from alexdsl.ir.backend import Unavailable

TWO = ("gpu0", "gpu1")
CARDS = (probe.Gpu("First", 10**10, (8, 0), 108), probe.Gpu("Second", 10**10, (9, 0), 132))


def _cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    def gpus() -> tuple[probe.Gpu, ...]:
        if not count:
            raise Unavailable("no NVIDIA driver is installed here (libcuda.so.1): use --device cpu, or --device emu")
        return CARDS[:count]

    monkeypatch.setattr(probe, "gpus", gpus)


@pytest.mark.parametrize(
    ("cards", "device", "bound"),
    [
        (0, "auto", {"gpu0": "cpu", "gpu1": "cpu"}),
        (1, "auto", {"gpu0": "cuda:0", "gpu1": "cuda:0"}),
        (2, "auto", {"gpu0": "cuda:0", "gpu1": "cuda:1"}),
        (2, "cuda", {"gpu0": "cuda:0", "gpu1": "cuda:1"}),
        (2, "cuda:1", {"gpu0": "cuda:1", "gpu1": "cuda:1"}),
        (2, "cpu", {"gpu0": "cpu", "gpu1": "cpu"}),
        (0, "sim", {"gpu0": "sim", "gpu1": "sim"}),
        (0, "emu", {"gpu0": "emu", "gpu1": "emu"}),
    ],
)
def test_one_device_for_all(cards: int, device: str, bound: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _cards(monkeypatch, cards)
    choice = choose(device, TWO)
    assert dict(choice.bound) == bound
    assert choice.backend == ("cpu" if "cpu" in bound.values() else "cuda")


def test_a_driver_of_an_older_release_than_the_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_library", object)
    monkeypatch.setattr(probe, "driver_version", lambda: (12, 8))
    with pytest.raises(Unavailable, match=r"the NVIDIA driver is for CUDA 12\.8, too old: 13\.0 is due"):
        probe.gpus.__wrapped__()


def test_auto_says_why_it_takes_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _cards(monkeypatch, 0)
    assert choose("auto", TWO).why == "no NVIDIA driver is installed here (libcuda.so.1)"


@pytest.mark.parametrize(
    ("device", "map", "bound"),
    [
        ("auto", {"gpu0": "cuda:1", "gpu1": "cuda:0"}, {"gpu0": "cuda:1", "gpu1": "cuda:0"}),
        ("auto", {"gpu1": "cuda:0"}, {"gpu0": "cuda:0", "gpu1": "cuda:0"}),
        ("cuda:1", {"gpu1": "cuda:0"}, {"gpu0": "cuda:1", "gpu1": "cuda:0"}),
        ("auto", {"gpu0": "cpu"}, {"gpu0": "cpu", "gpu1": "cpu"}),
    ],
)
def test_devices_one_by_one(
    device: str, map: dict[str, str], bound: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _cards(monkeypatch, 2)
    assert dict(choose(device, TWO, map).bound) == bound


@pytest.mark.parametrize(
    ("cards", "device", "map", "said"),
    [
        (0, "cuda", {}, "no NVIDIA driver is installed here"),
        (1, "cuda:1", {}, r"no device 'cuda:1' here, only cuda:0 \(First\)"),
        (1, "auto", {"gpu0": "cuda:0", "gpu1": "cuda:1"}, r"no device 'cuda:1' here, only cuda:0 \(First\)"),
        (1, "cuda:x", {}, "no device 'cuda:x' here"),
        (1, "tpu", {}, "no device 'tpu'; devices are cpu, cuda, emu, sim"),
        (1, "cpu:1", {}, "no device 'cpu:1'"),
        (1, "auto", {"gpu2": "cpu"}, "the spec has no device 'gpu2', only gpu0, gpu1"),
        (1, "auto", {"gpu0": "cpu", "gpu1": "cuda:0"}, "cannot run one net together"),
    ],
)
def test_what_cannot_be(
    cards: int, device: str, map: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cards(monkeypatch, cards)
    with pytest.raises(Unavailable, match=said):
        choose(device, TWO, map)
