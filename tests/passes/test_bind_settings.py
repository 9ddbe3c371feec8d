"""What becomes of solver and data blocks, and of what is set from outside."""

from __future__ import annotations

import pytest

from alexdsl.data.block import data_settings
from alexdsl.data.settings import (
    ColourJitter,
    DataSettings,
    Env,
    Exact,
    Folder,
    Idx,
    Mirror,
    PcaNoise,
    RandomCrop,
    RandomScale,
    Sample,
    Shards,
    ShorterSide,
    Split,
)
from alexdsl.language import Diagnostics, Source, parse
from alexdsl.passes.bind import BATCH, Block, bind
from alexdsl.registry import registry
from tests.passes.binding import END, GROUP, IMAGE, bound, ops

# --- solver


def test_solver_blocks_apply_in_file_order() -> None:
    tail = (
        "solver sgd {\n lr = 0.1, decay = 0.01\n bias { lr = 2x, decay = 0 }\n a..b { lr = 3x }\n"
        " b.bias { lr = 0 }\n conv { momentum = 0.5 }\n}"
    )
    found = ops(GROUP, tail)
    rates = {name: op.attrs["lr"] for name, op in found.items() if op.kind == "parameter"}
    assert rates == pytest.approx(
        {"a.weight": 0.3, "a.bias": 0.6, "b.weight": 0.3, "b.bias": 0, "scores.weight": 0.1, "scores.bias": 0.2}
    )
    assert (found["scores.bias"].attrs["decay"], found["a.weight"].attrs["decay"]) == (0.0, 0.01)
    assert (found["a.weight"].attrs["momentum"], found["scores.weight"].attrs["momentum"]) == (0.5, 0.9)


def test_solver_settings_and_schedule() -> None:
    tail = "report top1(scores)\nsolver sgd { lr = 0.1, epochs = 3, schedule = plateau(val.top1, factor = 50%) }"
    solver = bound(IMAGE + "a = relu" + END + tail).solver
    assert (solver.kind, solver.attrs["lr"], solver.epochs, solver.steps) == ("sgd", 0.1, 3, None)
    assert solver.schedule == ("plateau", {"metric": "val.top1", "factor": 0.5, "patience": 5, "rises": True})
    assert not bound(IMAGE + "a = relu" + END).has_solver


@pytest.mark.parametrize(
    ("metric", "rises"), [("val.top1", True), ("val.loss", False), ("val.softmax_cross_entropy", False)]
)
def test_a_metric_knows_its_direction(metric: str, rises: bool) -> None:
    solver = f"solver sgd {{ lr = 1, schedule = plateau({metric}) }}"
    tail = f"report top1(scores), softmax_cross_entropy(scores, label)\n{solver}"
    assert bound(IMAGE + "a = relu" + END + tail).solver.schedule[1]["rises"] is rises


def test_declared_first_values_are_those_that_one_would_write() -> None:
    plain, written = (
        bound(IMAGE + f"a = conv(4, kernel=3{weight}) | linear(5{weight})" + END).graph
        for weight in ("", ", weight=he, bias=0")
    )
    first = [[op.attrs["init"] for op in graph if "init" in op.attrs] for graph in (plain, written)]
    assert first[0] == first[1]
    assert first[0][0] == {"kind": "he", "by": "normal", "fan": "in"}


def test_a_data_block_without_a_batch_has_the_declared_one() -> None:
    found = bound('data d { source = sample("fashion") }\n' + IMAGE + "a = relu" + END)
    assert found.batch == found.graph.attrs["batch"] == BATCH == 128


# --- overrides


def test_set_overrides_any_leaf() -> None:
    body = "const w = 8\nmain = repeat 2 { conv(w, kernel=3) }\nfc = linear(4) | dropout(0.5) | dropout(0.5)"
    found = ops(body, w="4", main="1", fc__units="6", fc__dropout__p="0.25", fc__dropout_2__p="10%", image="[1, 9, 9]")
    assert found["image"].attrs["shape"] == (1, 9, 9)
    assert found["main.1.conv"].attrs["maps"] == 4
    assert "main.2.conv" not in found
    assert found["fc.linear"].attrs["units"] == 6
    assert (found["fc.dropout"].attrs["p"], found["fc.dropout_2"].attrs["p"]) == (0.25, 0.1)


def test_set_gives_what_the_spec_leaves_out() -> None:
    found = ops("a = conv(8, kernel=3)\ndefault conv { bias = 1 }", a__stride="2", default__conv__bias="3")
    assert found["a.conv"].attrs["stride"] == (2, 2)
    assert found["a.bias"].attrs["init"]["value"] == 3.0


def test_set_overrides_solver_and_data() -> None:
    text = 'data d { source = sample("fashion"), batch = 4 }\n' + IMAGE + "a = relu" + END
    text += "solver sgd { epochs = 3, bias { lr = 2x } }"
    found = bound(text, data__batch="8", solver__lr="0.5", solver__steps="7", solver__bias__lr="4x")
    assert (found.batch, found.solver.steps, found.solver.epochs) == (8, 7, None)
    assert found.graph.producers["scores.bias"].attrs["lr"] == 2.0


# --- data


def data(settings: str) -> DataSettings | None:
    found = bound(f"const n = 64\ndata d {{\n{settings}\n}}\n{IMAGE}a = relu{END}")
    assert isinstance(found.data, Block)
    diagnostics = Diagnostics()
    made = data_settings(found.data, diagnostics)
    assert not diagnostics.errors
    return made


def test_data_settings() -> None:
    assert data(
        'source = folder(env("HOME"), else = sample("fashion"))\nval = split(5%)\nresize = shorter_side(4 * n)\n'
        "crop = 227\naugment = [random_crop, mirror, pca_noise(0.2, by = eigenvalue)]\nbatch = n\nmean = image\n"
        "scale = 1 / 64\nchannels = 3\nclasses = 10"
    ) == DataSettings(
        Folder(Env("HOME"), Sample("fashion")), Split(0.05), ShorterSide(256), 227,
        (RandomCrop(), Mirror(), PcaNoise(0.2, "eigenvalue")), 64, 3, 10, "image", 1 / 64,
    )  # fmt: skip
    assert data('source = idx("a", "b")\nval = idx("c", "d")\nresize = exact([8, 9])\ncrop = [5, 6]\nmean = 3') == (
        DataSettings(Idx("a", "b"), Idx("c", "d"), Exact(8, 9), (5, 6), mean=3.0)
    )
    assert data('source = folder("x")\nresize = shorter_side(8, square = false)\naugment = mirror') == (
        DataSettings(Folder("x"), None, ShorterSide(8, square=False), augment=(Mirror(),))
    )
    assert data(
        'source = shards(env("SET"), else = folder("x"))\nval = shards("y")\ncrop = 8\n'
        "augment = [random_scale(0.5, 1), colour_jitter(contrast = 0.2, brightness = 0.1)]"
    ) == DataSettings(
        Shards(Env("SET"), Folder("x")), Shards("y"), crop=8, augment=(RandomScale(0.5, 1), ColourJitter(0.1, 0.2)),
    )  # fmt: skip
    assert data("source = sample\nresize = none\ncrop = none\naugment = none") == DataSettings(Sample())


def test_leaves_of_the_data_and_constants_use_each_other() -> None:
    found = bound(
        'const side = 28\nconst half = data.crop / 2\ndata d { source = sample("fashion"), crop = side, batch = 2 }\n'
        "input image [1, data.crop, half]\na = relu" + END
    )
    assert found.graph.producers["image"].attrs["shape"] == (1, 28, 14)
    assert (found.batch, found.graph.attrs["batch"]) == (2, 2)


def test_classes_are_asked_only_where_used() -> None:
    asked: list[str] = []

    def ask(block: Block) -> int:
        asked.append(block.name)
        return 7

    text = 'data d { source = folder("none") }\n' + IMAGE
    for end, times in ((END, 0), (END.replace("10", "data.classes"), 1)):
        made = bind(parse(Source("t", text + "a = relu" + end)), registry(), ask=ask)
        assert len(asked) == times
    assert made.graph.producers["scores.linear"].attrs["units"] == 7
    given = (
        text.replace("none", "none").replace(" }", ", classes = 5 }") + "a = relu" + END.replace("10", "data.classes")
    )
    assert bound(given).graph.producers["scores.linear"].attrs["units"] == 5
