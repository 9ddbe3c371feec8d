"""The commands without their measurements: what they start, and what they say where they cannot measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from alexdsl.cli.common import spec_path
from alexdsl.ir.backend import Unavailable
from benchmarks import data, infer, memory, pictures, start, train
from benchmarks.bars import arguments, peers_argument
from tests.cuda.two_towers import TOY


def test_everybody_gets_the_same_net_batch_device_and_cores() -> None:
    found = train.commands(("torch", "torch-compile"), "alexnet", 32, "cpu", (0, 1))
    assert [c.name for c in found] == ["alexdsl", "torch nchw", "torch nhwc", "torch.compile", "limit"]
    assert {c.cores for c in found} == {(0, 1)}
    for command in found[:-1]:
        assert command.args[:6] == ["--spec", "alexnet", "--batch", 32, "--device", "cpu"]


def test_the_limit_of_direct_convolutions_is_the_cpus() -> None:
    assert [c.name for c in train.commands((), "alexnet", 32, "cuda:0", (0,))] == ["alexdsl"]


def test_loaders_get_the_same_files_and_workers(tmp_path: Path) -> None:
    found = data.commands(("torch",), tmp_path, (0, 1))
    assert [(c.name, c.module) for c in found] == [("alexdsl", "data_alexdsl"), ("torch", "data_torch")]
    assert found[0].args == found[1].args
    assert [bar.found for bar in data.bars("prepared", {"alexdsl": 300.0, "torch": 100.0})] == [3.0]


def test_pictures_are_files_of_their_size(tmp_path: Path) -> None:
    assert pictures.write(tmp_path, 5, 40, 60) == sum(file.stat().st_size for file in tmp_path.rglob("*.jpg"))
    for file in tmp_path.rglob("*.jpg"):
        with Image.open(file) as image:
            assert image.size == (60, 40)
    assert len({child.name for child in tmp_path.iterdir()}) == 4


def test_machines_are_measured_for_one_image_only() -> None:
    assert [c.name for c in infer.commands(("onnxruntime",), 32, (0,))] == ["alexdsl", "onnxruntime"]
    assert [c.name for c in infer.commands((), 1, (0,))] == ["alexdsl", "sgemm", "reads"]


def test_a_device_that_is_not_there_is_said_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def choose(*args: object) -> None:
        raise Unavailable("no NVIDIA driver is installed here")

    monkeypatch.setattr(train, "choose", choose)
    monkeypatch.setattr(sys, "argv", ["train", "--device", "cuda"])
    assert train.main() == 2
    assert "no NVIDIA driver" in capsys.readouterr().err


def test_a_pytorch_without_cuda_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="the message is about PyTorch: pip install torch==2.13.0")
    monkeypatch.setattr(train, "choose", lambda *args: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no CUDA device" in (train.obstacle("cuda:0", ["torch"]) or "")
    assert train.obstacle("cuda:0", []) is None
    assert train.obstacle("cpu", ["torch"]) is None


def test_on_a_gpu_alexdsl_takes_one_card_as_others_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def measure(peers: object, spec: str, batch: int | None, device: str, *rest: object) -> train.Result:
        asked.append((spec, batch, device))
        return train.Result(spec, batch or 64, {"alexdsl": 1.0})

    monkeypatch.setattr(train, "obstacle", lambda *args: None)
    monkeypatch.setattr(train, "measure", measure)
    monkeypatch.setattr(train, "by_layer", lambda *args: asked.append(args))
    monkeypatch.setattr(sys, "argv", ["train", "--device", "cuda", "--specs", "alexnet,lenet5", "--peers", ""])
    assert train.main() == 0
    assert asked == [
        ("alexnet", 32, "cuda:0"), ("alexnet", 32, "cuda:0"),
        ("alexnet", 128, "cuda:0"), ("alexnet", 128, "cuda:0"),
        ("lenet5", None, "cuda:0"), ("lenet5", 64, "cuda:0"),
    ]  # fmt: skip


@pytest.mark.parametrize("command", [train, infer, memory])
def test_an_unknown_peer_is_refused(
    command: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", "--peers", "tensorflow"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "'tensorflow' is none of torch" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    parser = arguments("")
    peers_argument(parser, {"here": "sys", "there": "a_module_of_nobody"})
    assert parser.parse_args(["--peers", "here"]).peers == ["here"]
    assert parser.parse_args(["--peers", ""]).peers == []
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--peers", "here,there"])
    assert "'there' is not installed here" in capsys.readouterr().err


def test_the_edit_changes_some_kernels_and_keeps_most(tmp_path: Path) -> None:
    before = start.kernels(spec_path("alexnet"))
    after = start.kernels(start.edited(spec_path("alexnet"), tmp_path))
    assert 0 < len(after - before) < len(before) / 2


def test_a_kernel_counts_as_compiled_where_its_machine_code_is_new_or_written_anew() -> None:
    folder = Path("__pycache__")
    old = {folder / "a_1.kernel-3.py311.1.nbc": 1, folder / "b_2.kernel-3.py311.1.nbc": 1}
    new = {**old, folder / "b_2.kernel-3.py311.1.nbc": 2, folder / "c_3.kernel-3.py311.1.nbc": 1}
    assert start.compiled(old, new) == {"b_2", "c_3"}


@pytest.mark.parametrize("module", ["train", "infer", "memory", "start", "scaling"])
def test_commands_say_what_they_take(module: str) -> None:
    out = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "--rounds" in out


def test_a_peers_process_trains_on_the_device_that_it_is_told(tmp_path: Path) -> None:
    # The emulator stands for a GPU.
    (tmp_path / "toy.net").write_text(TOY)
    command = [sys.executable, "-m", "benchmarks.peers.train_alexdsl", "--spec", str(tmp_path / "toy.net")]
    told = ["--batch", "2", "--device", "emu"]
    done = subprocess.run([*command, *told], input="go\n", capture_output=True, text=True, check=True)
    facts, seconds = done.stdout.splitlines()
    assert '"gpu1"' in facts
    assert float(seconds) > 0
