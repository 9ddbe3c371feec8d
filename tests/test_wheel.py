"""An installed wheel is enough: what is in it, and that its commands work far from the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; what it depends on is read from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    # A path of a .pth file is searched after the wheel's own, and its .pth files (an editable alexdsl) are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def alexdsl(installed: Path, cwd: Path, *words: str) -> str:
    """What the installed command prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "IMAGENET")}
    command = [str(installed / "bin" / "alexdsl"), *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_holds_what_is_needed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("py.typed", "language/net.lark", "data/samples/fashion.npz", "data/samples/LICENSE-fashion-mnist.txt"):
        assert f"alexdsl/{name}" in names
    for spec in (path for ending in ("net", "yaml") for path in (ROOT / "specs").rglob(f"*.{ending}")):
        assert f"alexdsl/{spec.relative_to(ROOT)}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    sources = {path.relative_to(ROOT) for path in (ROOT / "alexdsl").rglob("*.py")}
    assert {str(path) for path in sources} <= set(names)
    assert all(name.startswith(("alexdsl/", "alexdsl_cpu/", "alexdsl_cuda/", "alexdsl-")) for name in names)


def test_its_commands_work_anywhere(installed: Path, tmp_path: Path) -> None:
    (package,) = installed.glob("lib/python*/site-packages/alexdsl")
    doctor = json.loads(alexdsl(installed, tmp_path, "doctor", "--json"))
    assert any(str(package) in finding["found"] for finding in doctor)
    assert "34,944" in alexdsl(installed, tmp_path, "check", str(package / "specs" / "alexnet.net"))
    assert "conv" in alexdsl(installed, tmp_path, "layers")
    text = alexdsl(installed, tmp_path, "run", str(package / "specs" / "lenet5.net"), "--steps", "3")
    assert "done: runs/lenet5-1" in text
    assert (tmp_path / "runs/lenet5-1/checkpoints/step-00000003/weights.safetensors").exists()
