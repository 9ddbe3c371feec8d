"""What a sweep's file may say, and what is answered to mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexdsl.compare import compare
from alexdsl.language import SpecError
from alexdsl.spec import load
from alexdsl.sweep.measures import Measure, known_metrics
from alexdsl.sweep.plan import read_sweep, seeds_of

EXPERIMENTS = Path(__file__).parents[2] / "specs" / "experiments"
GOOD = """title: a
spec: net.net
set: {solver.lr: 1e-2, data.mean: none}
variants:
  one:
  two: {set: {solver.lr: 0.5}}
  three: {spec: other.net}
seeds: 2
measures:
  steps: {until: val.error <= 2.5%, over: 10}
  end: {last: top1}
  most: {best: val.top1}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text)
    return path


def test_a_sweep(tmp_path: Path) -> None:
    found = read_sweep(written(tmp_path, GOOD))
    assert (found.name, found.title, found.seeds) == ("some", "a", [0, 1])
    assert {v.name: (v.spec.name, dict(v.overrides)) for v in found.variants} == {
        "one": ("net.net", {"solver.lr": "1e-2", "data.mean": "none"}),
        "two": ("net.net", {"solver.lr": "0.5", "data.mean": "none"}),
        "three": ("other.net", {"solver.lr": "1e-2", "data.mean": "none"}),
    }
    assert {variant.spec.parent for variant in found.variants} == {tmp_path}
    assert found.measures == [
        Measure("steps", "until", "val.error", 10, "<=", 0.025),
        Measure("end", "last", "top1"),
        Measure("most", "best", "val.top1"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("seeds: 2", "seed: 2", 8, "a sweep has no 'seed'"),
        ("seeds: 2", "seed: 2", 8, "did you mean 'seeds'?"),
        ("seeds: 2", "seeds: none", 8, "seeds are a count"),
        ("seeds: 2", "seeds: 0", 8, "seeds are a count"),
        ("seeds: 2", "seeds: [1, 1]", 8, "seeds are a count"),
        ("spec: net.net\n", "", 4, "variant 'one' has no spec"),
        ("  three:", "  two:", 7, "'two' is said twice"),
        ("  three:", "  a/b:", 7, "'a/b' names a folder"),
        ("{spec: other.net}", "{sepc: other.net}", 7, "a variant has no 'sepc'"),
        ("{spec: other.net}", "{spec: [a, b]}", 7, "a single value is due here"),
        ("{spec: other.net}", "{set: 3}", 7, "set is made of lines KEY: VALUE"),
        ("solver.lr: 0.5", "solver.lr:", 6, "set gives 'solver.lr' no value"),
        ("{last: top1}", "{latest: top1}", 11, "a measure has no 'latest'"),
        ("{last: top1}", "{last: top1, best: top1}", 11, "says one of until"),
        ("<= 2.5%", "= 2.5%", 10, "until is METRIC <= BOUND"),
        ("<= 2.5%", "<= 2.5.1", 10, "until is METRIC <= BOUND"),
        ("over: 10", "over: all", 10, "over is a number of steps"),
        ("title: a", "title: {", 3, "this is not YAML"),
    ],
)
def test_mistakes_have_their_place(old: str, new: str, line: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        read_sweep(written(tmp_path, GOOD.replace(old, new, 1)))
    assert said in str(raised.value)
    assert f"some.yaml:{line}:" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no sweep"),
        ("- a", "is no sweep"),
        ("spec: a.net\nmeasures:\n  a: {last: loss}\n", "says nothing of its variants"),
        ("spec: a.net\nvariants:\n  a:\n", "says nothing of its measures"),
        ("spec: a.net\nvariants:\nmeasures:\n", "there are no variants to compare"),
    ],
)
def test_what_is_missing(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=said):
        read_sweep(written(tmp_path, text))


def test_seeds() -> None:
    assert seeds_of("3") == [0, 1, 2]
    assert [seeds_of(text) for text in ("4,7", "4,")] == [[4, 7], [4]]
    assert [seeds_of(text) for text in ("", "-1", "0", "1,1", "a", "99999")] == [None] * 6


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_experiments_that_come_along(path: Path) -> None:
    """They are readable, their specs load with what they override, and what they measure is logged."""
    sweep = read_sweep(path)
    for variant in sweep.variants:
        spec = load(variant.spec, set=variant.overrides)
        assert not spec.warnings
        logged = known_metrics(label for label in spec.shaped.outputs if label != "logits")
        assert {measure.metric for measure in sweep.measures} <= set(logged)


@pytest.mark.parametrize(
    ("other", "points"),
    [
        ("tanh", {("net", "conv1", "layer"), ("net", "conv2", "layer"), ("net", "conv3", "layer")}),
        ("lrn", {("net", "conv1.lrn", "layer"), ("net", "conv2.lrn", "layer")}),
        ("towers", {("net", "conv2", "conv: an output sees"), ("start", "conv2", "first weights")}),
        ("dropout", {("net", f"hidden{step}", "layer") for step in ("", ".relu", ".dropout")}),
    ],
)
def test_a_spec_differs_from_the_four_layer_net_in_its_own_points_only(
    other: str, points: set[tuple[str, str, str]]
) -> None:
    found = compare(load(EXPERIMENTS / "four-layer.net"), load(EXPERIMENTS / f"four-layer-{other}.net"))
    assert {(d.part, where, d.what) for d in found.differences for where in d.where if d.part != "same"} == points
