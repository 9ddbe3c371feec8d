"""Runs that go on under another spec, and runs that begin with another's weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from alexdsl.cli import main
from tests.train.runs import SPEC, finish, words


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which 6 of 12 steps are done."""
    folder = tmp_path_factory.mktemp("half") / "run"
    assert main(["run", *words(folder), "--steps", "6"]) == 0
    return folder


@pytest.fixture
def run(half: Path, folder: Path) -> Path:
    shutil.copytree(half, folder)
    return folder


def arrays(folder: Path, name: str = "weights") -> dict[str, object]:
    return {n: a.tobytes() for n, a in load_file(max(folder.glob("checkpoints/*")) / f"{name}.safetensors").items()}


def test_what_changes_is_told_taken_over_and_kept(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = ["solver.lr=0.02", "solver.bias.decay=0", "data.scale=1/64", "c1.avgpool.count=padded", "f6.weight=he"]
    text = (run / "spec.net").read_text()
    (run / "spec.net").write_text(text.replace("epochs = 5", "epochs = 5\n    bias { decay = 0.001 }"))
    sets = [word for one in changed for word in ("--set", one)]
    assert main(["run", "--resume", str(run), "--steps", "9", *sets]) == 0
    told = capsys.readouterr().out
    assert "solver.lr: 0.05 in the checkpoint, 0.02 in the net, taken over" in told
    assert "solver.steps: 6 in the checkpoint, 9 in the net, taken over" in told
    assert "c1.bias: decay: 0.0005 in the checkpoint, 0 in the net, taken over" in told
    assert "data.scale: 0.0078125 in the checkpoint, 0.015625 in the net, taken over" in told
    assert "c1.avgpool.count: inside in the checkpoint, padded in the net, taken over" in told
    assert "f6.weight: first values: xavier(uniform, mean) in the checkpoint, he(normal, in) in the net, ign" in told
    assert told.count("taken over") == 4 + sum(name.endswith(".bias") for name in arrays(run))
    facts = json.loads((run / "run.json").read_text())
    assert {*changed} <= {f"{name}={value}" for name, value in facts["overrides"].items()}
    # It is part of the run from now on: nothing is told again, and steps go on with it.
    assert main(["run", "--resume", str(run), "--steps", "10"]) == 0
    assert capsys.readouterr().out.count("in the net") == 1
    assert "lr=0.02" in (run / "program.ir").read_text()


def test_layout_of_the_text_is_no_change(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = run / "spec.net"
    spec.write_text(spec.read_text().replace("c1   =", "c1 =") + "# more\n")
    assert main(["run", "--resume", str(run), "--steps", "7"]) == 0
    assert capsys.readouterr().out.count("in the net") == 1


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["data.batch=16"], "data.batch: 32 in the checkpoint, 16 in the net, refused"),
        (["f6.units=80"], "out.weight: [10, 84] in the checkpoint, [10, 80] in the net, refused"),
    ],
)
def test_what_is_refused_leaves_the_run_as_it_was(
    run: Path, half: Path, sets: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word for one in (*sets, "solver.lr=0.02") for word in ("--set", one)]
    assert main(["run", "--resume", str(run), *given]) == 2
    found = capsys.readouterr().err
    assert told in found
    assert "solver.lr: 0.05 in the checkpoint, 0.02 in the net, taken over" in found
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == {
        p.name: p.read_bytes() for p in half.iterdir() if p.is_file()
    }


def test_another_solver_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = run / "spec.net"
    spec.write_text(spec.read_text().replace("solver sgd", "solver nesterov"))
    assert main(["run", "--resume", str(run)]) == 2
    assert "solver: sgd in the checkpoint, nesterov in the net, refused" in capsys.readouterr().err


def test_weights_alone_are_taken_by_name_where_they_fit(
    half: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = folder.with_name("changed.net")
    text = Path(SPEC).read_text().replace("linear(84)          | tanh", "linear(80) | tanh\nf7 = linear(9) | tanh")
    spec.write_text(text.replace("c5   =", "c6   =").replace("lr = 0.05", "lr = 0"))
    asked = ["--steps", "1", "--set", "data.val=split(2%)", "--init-from", str(half)]
    assert main(["run", str(spec), "--out", str(folder), *asked]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "5 of 12 arrays taken by name: c1.weight, c1.bias, c3.weight, c3.bias, out.bias" in told
    assert "f6.weight: [84, 120] there, [80, 120] here, drawn anew" in told
    assert "c6.weight: not there, drawn anew" in told
    assert "c5.weight: not here, left out" in told
    fit = {name: array for name, array in arrays(half).items() if name.startswith(("c1.", "c3.", "out.bias"))}
    assert fit.items() <= arrays(folder).items()


def test_weights_are_taken_again_where_a_run_was_killed_before_its_first_checkpoint(half: Path, folder: Path) -> None:
    asked = ["--init-from", str(half / "checkpoints" / "step-00000006")]
    assert main(["run", *words(folder), *asked]) == 0
    whole = arrays(folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoints").mkdir()
    finish(folder)
    assert arrays(folder) == whole


def test_what_a_checkpoint_says_of_itself(half: Path) -> None:
    state = json.loads((half / "checkpoints" / "step-00000006" / "state.json").read_text())
    about = state["about"]
    assert len(about["program"]) == 64
    assert about["batch"] == {"effective": 32, "slices": 1, "at_once": 32}
    assert about["data"] == {"images": 7840, "epoch": 0, "position": 6 * 32}
    assert about["random"]["step"] == 6
    assert (about["optimiser"]["kind"], about["optimiser"]["momentum"]) == ("sgd", 0.9)
    assert set(about["versions"]) == {"alexdsl", "python", "numba", "numpy"}
    assert state["spec"].startswith("# LeNet-5")
