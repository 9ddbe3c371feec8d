"""Figures against their bars: each command misses what falls short, keeps what is reached, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

import pytest

from benchmarks import infer, memory, scaling, start, train
from benchmarks.bars import Bar, conclude, table


def missed(bars: object) -> list[str]:
    return [bar.what for bar in bars if bar.missed]


@pytest.mark.parametrize(
    ("found", "most", "is_missed"),
    [(1.0, False, False), (0.99, False, True), (1.0, True, False), (1.01, True, True), (nan, False, True),
     (nan, True, True)],
)  # fmt: skip
def test_a_bar_is_missed_on_its_wrong_side_and_without_a_figure(found: float, most: bool, is_missed: bool) -> None:
    assert Bar("x", found, 1.0, most).missed == is_missed


def test_what_falls_short_is_marked_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude([Bar("fine", 2, 1), Bar("short", 0.5, 1)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("MISSED") for line in lines if line.startswith(("fine", "short"))] == [False, True]
    assert conclude([Bar("fine", 2, 1)]) == 0
    assert conclude([]) == 0


def test_a_table_has_names_to_the_left_figures_to_the_right_and_what_is_lacking_empty() -> None:
    rows = [{"net": "a", "speed": 1234.5, "ratio": nan}, {"net": "longer", "speed": 0.12345, "ratio": 2.0}]
    assert list(table(rows)) == ["net     speed  ratio", "a       1,234", "longer  0.123      2"]
    texts = [{"net": "a", "part": "91%"}, {"net": "longer", "part": "100%"}]
    assert list(table(texts, left=["net"])) == ["net     part", "a        91%", "longer  100%"]


def result(batch: int, spec: str = "alexnet", **speeds: float) -> train.Result:
    return train.Result(spec, batch, {name.replace("_", " "): speed for name, speed in speeds.items()})


FULL = {"torch_nchw": 10.0, "torch_nhwc": 9.0, "torch.compile": 12.0, "limit": 35.0}


def test_training_is_held_against_the_faster_layout() -> None:
    at_bar = result(128, alexdsl=35.0, **FULL)
    assert at_bar.ratios["eager"] == 3.5
    assert missed(train.bars([at_bar])) == []
    faster = {**FULL, "torch_nhwc": 35.0 / 2.9}
    assert missed(train.bars([result(128, alexdsl=35.0, **faster)])) == ["alexnet, batch 128, over PyTorch eager"]


@pytest.mark.parametrize("peer", ["torch_nchw", "torch.compile", "limit"])
def test_each_bar_of_training_alexnet_is_missed_by_itself(peer: str) -> None:
    asked = train.ALEXNET[128][{"torch_nchw": "eager", "torch.compile": "compiled", "limit": "limit"}[peer]]
    speeds = {**FULL, peer: 36.0 / asked * 1.01}
    assert len(missed(train.bars([result(128, alexdsl=36.0, **speeds)]))) == 1


def test_other_nets_are_never_slower_and_faster_on_the_mean() -> None:
    nets = [result(32, spec, alexdsl=speed, torch_nchw=1.0) for spec, speed in (("a", 1.0), ("b", 4.0))]
    assert missed(train.bars(nets)) == []
    slow = result(32, "c", alexdsl=0.9, torch_nchw=0.5, **{"torch.compile": 1.0})
    assert missed(train.bars([*nets, slow])) == [
        "c, batch 32, over torch.compile",
        "other nets over the fastest peer, geometric mean",
    ]


def test_peers_that_were_left_out_are_asked_nothing() -> None:
    assert list(train.bars([result(128, alexdsl=1.0)])) == []


@pytest.mark.parametrize(
    ("batch", "seconds", "floor", "words"),
    [
        (32, {"torch nchw": 3.0, "torch nhwc": 1.9, "onnxruntime": 1.4}, nan, ["batch 32, over PyTorch"]),
        (32, {"torch nchw": 2.0, "torch nhwc": 2.1, "onnxruntime": 1.2}, nan, ["batch 32, over ONNX Runtime"]),
        (128, {"torch nchw": 2.0, "torch nhwc": 2.1, "onnxruntime": 1.3}, nan, []),
        (1, {"torch nchw": 0.1}, 0.75, []),
        (1, {"torch nchw": 0.1}, 0.74, ["batch 1, of its floor's speed"]),
    ],
)
def test_prediction(batch: int, seconds: Mapping[str, float], floor: float, words: list[str]) -> None:
    found = infer.Result(batch, {"alexdsl": 1.0, **seconds}, {"torch nchw": 1e-6}, floor)
    assert missed(infer.bars([found])) == words


def test_peers_of_another_function_are_found_out() -> None:
    found = infer.Result(1, {"alexdsl": 1.0}, {"torch nchw": 1e-3, "onnxruntime": 1e-6}, 1.0)
    assert missed(infer.bars([found])) == ["batch 1, distance of torch nchw's logits"]


def test_memory_is_held_against_the_thriftier_layout_and_the_plan() -> None:
    peaks = {"alexdsl": 55, "torch nchw": 100, "torch nhwc": 120}
    assert missed(memory.bars(peaks, {"gpu0": 8}, {"gpu0": 8})) == []
    assert missed(memory.bars({**peaks, "torch nhwc": 99}, {"gpu0": 8}, {"gpu0": 8})) == ["peak over PyTorch's"]
    wrong = ["bytes of arenas that differ from the plan"]
    assert missed(memory.bars(peaks, {"gpu0": 8}, {"gpu0": 9})) == wrong
    assert missed(memory.bars(peaks, {"gpu0": 8, "gpu1": 8}, {"gpu0": 8})) == wrong


def test_starting() -> None:
    times = {"cold": 74.0, "warm": 2.9, "check": 0.4}
    assert missed(start.bars(times, {"a"}, {"a"})) == []
    assert missed(start.bars({**times, "warm": 3.1}, {"a"}, {"a"})) == ["warm, seconds"]
    assert missed(start.bars(times, {"a", "b"}, {"a"})) == ["kernels compiled for the edit that it did not change"]
    assert missed(start.bars(times, set(), set())) == ["kernels that the edit changed"]


def test_scaling() -> None:
    assert missed(scaling.batch_bars({16: 75.0, 32: 85.0, 128: 100.0})) == []
    assert missed(scaling.batch_bars({16: 74.0, 32: 84.0, 128: 100.0})) == [
        "batch 16, of the best speed",
        "batch 32, of the best speed",
    ]
    seconds = {"alexdsl 1": 1.9, "alexdsl 2": 1.0, "sgemm 1": 2.0, "sgemm 2": 1.0}
    assert missed(scaling.core_bars(seconds)) == []
    assert len(missed(scaling.core_bars({**seconds, "alexdsl 1": 1.8}))) == 1
    assert missed(scaling.overhead_bars({32: 1.0, 128: 4.0}, {32: 0.011, 128: 0.011})) == [
        "batch 32, Python's part of a step"
    ]
