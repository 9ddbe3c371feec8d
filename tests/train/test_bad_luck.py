"""What may befall a run short of a kill: it says what happened, keeps what it has, and goes on as if nothing had."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError

from alexdsl.cli import main
from alexdsl.data.errors import WorkerError
from alexdsl.data.loader import Loader
from alexdsl.program import Program
from alexdsl.train import checkpoint
from alexdsl.train.folder import RunFolder
from alexdsl.train.interrupts import Patience
from alexdsl.train.loop import Trainer
from tests.train.runs import SPEC, assert_same, finish, words


def run(*args: str) -> int:
    return main(["run", *args])


def steps(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def before(patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, happens: Callable[[], object]) -> None:
    """Let something happen before the N-th call of a method."""
    function, calls = getattr(owner, name), iter(range(1, 1000))

    def changed(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            happens()
        return function(*args, **kwargs)

    patch.setattr(owner, name, changed)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_twice() -> None:
    interrupt()
    interrupt()


def test_ctrl_c_in_a_validation_leaves_it_for_later(
    folder: Path, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        before(patch, Program, "evaluate", 7, interrupt)
        assert run(*words(folder)) == 130
    shown = capfd.readouterr()
    assert "stopping after this step" in shown.err
    assert f"stopped after step 8 and saved; go on with: alexdsl run --resume {folder}" in shown.out
    assert steps(folder) == ["step-00000004", "step-00000006", "step-00000008"]
    assert "val.images" not in (folder / "metrics.jsonl").read_text().splitlines()[-1]
    with pytest.MonkeyPatch.context() as patch:
        before(patch, Trainer, "save", 1, interrupt_twice)  # now that the validation is logged
        assert run(*words(folder)) == 130
    finish(folder)
    assert_same(folder, whole)


def test_ctrl_c_in_the_last_validation_is_no_end(folder: Path, whole: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        before(patch, Program, "evaluate", 27, interrupt)
        assert run(*words(folder)) == 130
    finish(folder)
    assert_same(folder, whole)


def test_ctrl_c_twice_stops_at_once(folder: Path, whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        before(patch, Program, "start", 14, interrupt_twice)
        assert run(*words(folder)) == 130
    assert capfd.readouterr().err.endswith("stopped\n")
    assert steps(folder) == ["step-00000008", "step-00000009", "step-00000012"]
    finish(folder)
    assert_same(folder, whole)


def test_ctrl_c_waits_for_the_kernel_at_hand() -> None:
    patience, done = Patience(), []

    def compile_all() -> None:
        with patience.held():
            for kernel in ("first", "second", "third"):
                patience(kernel)
                if kernel == "second":
                    interrupt()
                done.append(kernel)

    with pytest.raises(KeyboardInterrupt):
        compile_all()
    assert done == ["first", "second"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_full_disk(folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.MonkeyPatch.context() as patch:
        before(patch, checkpoint, "save_file", 8, full)
        assert run(*words(folder)) == 1
    assert "cannot write a checkpoint into" in (told := capsys.readouterr().err)
    assert "No space left on device" in told
    assert steps(folder) == ["step-00000003", "step-00000004"]
    finish(folder)
    assert_same(folder, whole)


def test_a_full_disk_before_the_first_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        before(patch, os, "fsync", 3, full)
        assert run(*words(folder)) == 1
    assert f"the run cannot go on at {folder / 'spec.net'}: No space left on device" in capsys.readouterr().err
    assert not list(folder.rglob(".*"))


def test_a_worker_that_ends_is_no_fault_of_the_input(
    folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends() -> None:
        raise WorkerError("data worker 1 of 2 was killed by SIGKILL (perhaps out of memory)")

    with pytest.MonkeyPatch.context() as patch:
        before(patch, Loader, "batch", 6, ends)
        assert run(*words(folder)) == 1
    assert "data worker 1 of 2" in capsys.readouterr().err
    assert steps(folder)[-1] == "step-00000005"
    finish(folder)
    assert_same(folder, whole)


def test_two_processes_do_not_train_in_one_folder(
    folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, folder)
    with RunFolder(folder).held():
        (folder / ".metrics.jsonl.1.tmp").write_text("half")
        assert run("--resume", str(folder), "--steps", "30") == 2
        assert (folder / ".metrics.jsonl.1.tmp").exists()
    assert "another process is training" in capsys.readouterr().err
    assert run("--resume", str(folder)) == 0
    assert_same(folder, whole)


@pytest.mark.parametrize("file", ["weights.safetensors", "state.safetensors", "state.json"])
@pytest.mark.parametrize("size", [0, 60])
def test_a_broken_checkpoint_is_told_with_the_way_round_it(
    folder: Path, whole: Path, capsys: pytest.CaptureFixture[str], file: str, size: int
) -> None:
    shutil.copytree(whole, folder)
    broken = folder / "checkpoints" / "step-00000024"
    os.truncate(broken / file, size)
    metrics = (folder / "metrics.jsonl").read_bytes()
    assert run("--resume", str(folder), "--steps", "30") == 2
    told = capsys.readouterr().err
    assert told.endswith(f"without it the run goes on from step-00000021: rm -r {broken}\n")
    assert (folder / "metrics.jsonl").read_bytes() == metrics
    shutil.rmtree(broken)
    finish(folder)
    assert_same(folder, whole)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"spec": "a", "overrides": [], "seed": 0}', '{"version": 2}'])
def test_a_broken_run_json(folder: Path, whole: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    shutil.copytree(whole, folder)
    (folder / "run.json").write_text(text)
    assert run("--resume", str(folder)) == 2
    assert "run.json" in capsys.readouterr().err
    shutil.copy(whole / "run.json", folder)
    (folder / "spec.net").unlink()
    assert run("--resume", str(folder)) == 2
    assert "spec.net cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("reader", ["gone", "none", "full"])
def test_nobody_reads_what_the_run_says(folder: Path, whole: Path, reader: str) -> None:
    commands = {"gone": "{} | true", "none": "{} >&-", "full": "{} >/dev/full"}
    command = f'"{sys.executable}" -m alexdsl.cli run ' + " ".join(f"'{word}'" for word in words(folder))
    shell = f"set -o pipefail; {commands[reader].format(command)}"
    done = subprocess.run(["bash", "-c", shell], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same(folder, whole)


PHOTOS = """\
data photos { source = folder(env("PHOTOS")), resize = shorter_side(16), crop = 12, batch = 8 }
input image [3, 12, 12]
out = linear(data.classes, weight = normal(0.0001))
loss = softmax_cross_entropy(out, label)
solver sgd { lr = 0.0001, steps = 9, validate = 3 }
"""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photographs, 2 classes of 10 to train on and 2 of 6 held out, and ``photos.net`` beside it."""
    random = np.random.default_rng(0)
    for part, count in (("train", 10), ("val", 6)):
        for name in ("cats", "dogs"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (16, 20, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{i}.jpg")
    (tmp_path / "photos.net").write_text(PHOTOS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHOTOS", "photos")
    return tmp_path / "photos"


def test_a_damaged_photograph_costs_nothing_once_it_is_mended(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("photos.net", "--out", "whole") == 0
    damaged = photos / "val" / "dogs" / "3.jpg"
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    assert run("photos.net", "--out", "run") == 2
    assert "photos/val/dogs/3.jpg cannot be read as an image" in capsys.readouterr().err
    assert steps(Path("run")) == ["step-00000003"]
    assert run("--resume", "run") == 2
    damaged.write_bytes(data)
    assert run("--resume", "run") == 0
    assert_same(Path("run"), Path("whole"))


def no_photograph(photos: Path) -> str:
    (photos / "train" / "cats" / "0.jpg").write_bytes(b"no photograph")
    return "photos"


def empty(photos: Path) -> str:
    photos.with_name("empty").mkdir()
    return "empty"


def one_class(photos: Path) -> str:
    shutil.rmtree(photos / "train" / "dogs")
    return "photos/train"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (lambda photos: "nowhere", "there is no folder nowhere"),
        (lambda photos: "photos/train/cats", "files but no sub-folders"),
        (empty, "is empty"),
        (no_photograph, "cats/0.jpg cannot be read as an image"),
        (one_class, "with a single class there is nothing to learn"),
    ],
)
def test_folders_that_are_no_photographs(
    photos: Path,
    setting: Callable[[Path], str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PHOTOS", setting(photos))
    assert run("photos.net", "--out", "run") == 2
    assert sentence in capsys.readouterr().err
    assert not Path("run").exists()


def test_how_often_to_save_and_how_much_to_keep_stay_as_they_were(folder: Path) -> None:
    assert run(SPEC, "--out", str(folder), "--steps", "2", "--save-every", "2", "--keep", "3") == 0
    assert run("--resume", str(folder), "--steps", "9") == 0
    assert steps(folder) == ["step-00000006", "step-00000008", "step-00000009"]
    facts = json.loads((folder / "run.json").read_text())
    assert (facts["save_every"], facts["keep"]) == (2, 3)


@pytest.mark.parametrize(("more", "best"), [([], 20), (["--set", "solver.schedule=plateau(val.loss)"], 16)])
def test_the_best_checkpoint_stays(folder: Path, more: list[str], best: int) -> None:
    found = {4: (1.0, 0.2), 8: (0.9, 0.5), 12: (0.8, 0.4), 16: (0.5, 0.4), 20: (0.6, 0.6), 24: (0.7, 0.6)}

    def judged(program: Program, images: Any, labels: Any) -> dict[str, float]:
        loss, top1 = found[program.steps]
        return {"loss": loss, "top1": top1}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "evaluate", judged)
        assert run(*words(folder), *more) == 0
    assert steps(folder) == [f"step-{step:08}" for step in sorted({best, 21, 24})]


def test_the_newest_run_is_not_found_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = Path(SPEC).absolute()
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(str(spec), "--steps", "1", "--set", "data.val=split(2%)") == 0
    for file in Path("runs/lenet5-2").iterdir():
        os.utime(file, (0, 0))
    assert run("--resume", "--steps", "2") == 0
    assert "lenet5-2" in capsys.readouterr().out.splitlines()[-1]
