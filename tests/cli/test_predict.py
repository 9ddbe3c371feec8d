"""``alexdsl predict``: a checkpoint alone is enough, images are prepared as for validation, bad ones are named."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from alexdsl_cpu.backend import CpuBackend
from PIL import Image

from alexdsl.cli import main, show
from alexdsl.data.prepare import Preparer, Slice
from alexdsl.data.sources import SAMPLES
from alexdsl.data.statistics import Statistics
from alexdsl.program import Program, compile
from alexdsl.spec import load
from alexdsl.train.checkpoint import State, restore, save_checkpoint

SPEC = Path(__file__).parents[2] / "specs" / "lenet5.net"
CLASSES = [f"thing {i}" for i in range(10)]
TEN_CROP = {"data.resize": "exact([36, 40])", "data.crop": "32", "data.test": "ten_crop"}
MEAN = Statistics(np.full((1, 1, 1), 70.0), np.zeros(1), np.eye(1))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    with np.load(SAMPLES / "fashion.npz") as arrays:
        return np.array(arrays["val_images"][:6])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "lenet5-1"
    program = compile(load(SPEC), batch=4)
    random = np.random.default_rng(0)
    for _ in range(2):
        program.step(random.standard_normal((4, 1, 32, 32)), np.arange(4))
    state = State(2, SPEC.read_text().replace("out  = linear", "out = linear"), {}, 0, "lenet5", CLASSES)
    save_checkpoint(folder / "checkpoints", program, state, MEAN)
    program.close()
    (folder / "run.json").write_text(json.dumps({"spec": str(SPEC), "overrides": {}, "seed": 0}))
    (folder / "metrics.jsonl").write_text("")
    return folder


@pytest.fixture(scope="module")
def images(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    for i, picture in enumerate(pictures):
        Image.fromarray(picture.squeeze()).save(folder / f"{i}.png")
    return [str(folder / f"{i}.png") for i in range(len(pictures))]


def expected(run: Path, pictures: np.ndarray) -> np.ndarray:
    """The probabilities by way of the package itself."""
    from alexdsl.data.sources import ArraySource

    spec = load(SPEC)
    assert spec.data is not None
    source = ArraySource(pictures.reshape(-1, 28, 28, 1), np.zeros(len(pictures), np.int64), CLASSES, "test")
    prepared = np.empty((len(pictures), 1, 32, 32), np.float32)
    Preparer(source, source, spec.data, MEAN, 0).fill(Slice("val", 0, 0, np.arange(len(pictures))), prepared)
    program: Program = compile(spec, batch=len(pictures))
    restore(run / "checkpoints" / "step-00000002", program)
    scores = program.predict(prepared).astype(np.float64)
    program.close()
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def test_probabilities(
    run: Path,
    images: list[str],
    pictures: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_data(*args: object) -> None:
        raise AssertionError("predict opened the data")

    rows = expected(run, pictures)
    monkeypatch.setattr("alexdsl.data.resolve.resolve", no_data)
    monkeypatch.setattr("alexdsl.data.resolve.class_names", no_data)
    assert main(["predict", *images, "--run", str(run), "--json", "--top", "10"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["image"] for entry in found] == images
    for entry, row in zip(found, rows, strict=True):
        shares = {guess["index"]: guess["probability"] for guess in entry["classes"]}
        np.testing.assert_allclose([shares[i] for i in range(10)], row, rtol=1e-4, atol=1e-6)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert all(guess["class"] == CLASSES[guess["index"]] for guess in entry["classes"])


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="needs numba-cuda to compile kernels: alexdsl[cuda]")
def test_another_device(run: Path, images: list[str], pictures: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """The kernels of a GPU, by the emulator."""
    row = expected(run, pictures)[0]
    assert main(["predict", images[0], "--run", str(run), "--json", "--top", "10", "--device", "emu"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    shares = {guess["index"]: guess["probability"] for guess in entry["classes"]}
    np.testing.assert_allclose([shares[i] for i in range(10)], row, rtol=1e-4, atol=1e-6)


def ten_crops(path: str) -> np.ndarray:
    """What the net sees of a file when the data block says ``TEN_CROP``, by slicing."""
    pixels = np.asarray(Image.open(path).resize((40, 36), Image.Resampling.BILINEAR), np.float32)
    crops = [pixels[top : top + 32, left : left + 32] for top, left in [(2, 4), (0, 0), (0, 8), (4, 0), (4, 8)]]
    return np.stack([*crops, *(crop[:, ::-1] for crop in crops)])[:, None] / 128 - np.float32(70 / 128)


def test_ten_crops_are_averaged(
    run: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "step-00000002"
    shutil.copytree(run / "checkpoints" / "step-00000002", copy)
    state = json.loads((copy / "state.json").read_text())

    def shares(batch: int) -> np.ndarray:
        state["overrides"] = {**TEN_CROP, "data.batch": str(batch)}
        (copy / "state.json").write_text(json.dumps(state))
        assert main(["predict", *images[:3], "--checkpoint", str(copy), "--json", "--top", "10"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [entry["image"] for entry in found] == images[:3]
        return np.array([[g["probability"] for g in sorted(e["classes"], key=lambda g: g["index"])] for e in found])

    program = compile(load(SPEC), batch=10)
    restore(run / "checkpoints" / "step-00000002", program)
    scores = np.stack([program.predict(ten_crops(path)) for path in images[:3]]).astype(np.float64)
    program.close()
    powers = np.exp(scores - scores.max(2, keepdims=True))
    each = powers / powers.sum(2, keepdims=True)
    assert np.ptp(each, axis=1).max() > 1e-3  # the crops differ, so that a mean of fewer would show
    for batch in (64, 25, 4):
        np.testing.assert_allclose(shares(batch), each.mean(1), rtol=1e-4, atol=1e-6)


def test_the_newest_run_is_the_default(
    run: Path, images: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", images[0]]) == 2
    assert "there is no run in runs/" in capsys.readouterr().err
    (tmp_path / "runs").symlink_to(run.parent)
    assert main(["predict", images[0]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == images[0]
    assert len(lines) == 6
    assert all(line.split()[0].endswith("%") and "thing" in line for line in lines[1:])


def test_unreadable_images_are_named_and_left_out(
    run: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    words = [str(bad), images[0], str(tmp_path / "none.png")]
    assert main(["predict", *words, "--run", str(run)]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith(images[0])
    assert "bad.png cannot be read as an image" in shown.err
    assert "there is no file" in shown.err


def test_folders_stand_for_the_images_in_them(
    run: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    for name, to in ((images[1], below / "2.PNG"), (images[0], tmp_path / "a" / "1.png")):
        shutil.copy(name, to)
    (below / "notes.txt").write_text("no picture")
    assert main(["predict", str(tmp_path), images[2], "--run", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["image"] for entry in found] == [str(tmp_path / "a" / "1.png"), str(below / "2.PNG"), images[2]]
    assert main(["predict", *images[:3], "--run", str(run), "--json"]) == 0
    assert [e["classes"] for e in json.loads(capsys.readouterr().out)] == [e["classes"] for e in found]
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(tmp_path / "empty"), "--run", str(run)]) == 2
    assert "there are no images in the folder" in capsys.readouterr().err


def test_how_far_it_is_is_told_where_it_lasts(
    run: Path, images: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "PLAIN_SECONDS", 0)
    assert main(["predict", *images[:3], "--run", str(run), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "predicting: 3 of 3\n"
    assert len(json.loads(said.out)) == 3


def test_colour_and_other_sizes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (90, 50), (200, 100, 50)).save(tmp_path / "a.jpg")
    Image.new("RGBA", (10, 20), (200, 100, 50, 7)).save(tmp_path / "b.png")
    assert main(["predict", str(tmp_path / "a.jpg"), str(tmp_path / "b.png"), "--run", str(run)]) == 0


def test_mistakes(run: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> str:
        assert main(["predict", images[0], *words]) == 2
        return capsys.readouterr().err

    assert "holds no run" in told("--run", str(tmp_path))
    assert "is not a checkpoint" in told("--checkpoint", str(tmp_path))
    assert "--top" in told("--run", str(run), "--top", "0")
    assert "there is no device 'abacus'" in told("--run", str(run), "--device", "abacus")
    assert "the spec has no device 'gpu7'" in told("--run", str(run), "--map", "gpu7=cpu")


def test_what_does_not_fit_is_refused(
    run: Path, images: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def of(memory: int) -> str:
        monkeypatch.setattr(CpuBackend, "memory", lambda backend, real: memory)
        assert main(["predict", *images, "--run", str(run)]) == 2
        return capsys.readouterr().err

    assert "not even one image fits" in of(100_000)
    found = re.search(r"this machine has [^:]*: a batch of ([123]) would fit", of(350_000))
    assert found is not None


def test_a_checkpoint_of_another_net_is_told(
    run: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "step-00000002"
    shutil.copytree(run / "checkpoints" / "step-00000002", copy)
    state = json.loads((copy / "state.json").read_text())
    state["spec"] = state["spec"].replace("linear(84)", "linear(85)")
    (copy / "state.json").write_text(json.dumps(state))
    assert main(["predict", images[0], "--checkpoint", str(copy)]) == 2
    err = capsys.readouterr().err
    assert "a checkpoint of another net" in err
    assert "f6.weight: [84, 120] in the checkpoint, [85, 120] in the net" in err
