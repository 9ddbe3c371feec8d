"""What the house promises: a new layer kind is one file, its line in the list, and its samples; the rest follows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("alexdsl", "backends", "specs", "tests/conftest.py", "tests/layers", "tests/backends", "pyproject.toml")

LEAKY_RELU = '''\
"""The leaky rectifier (Maas et al. 2013)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Parameter, Real
from alexdsl.ir.protocol import Array
from alexdsl.layers.elementwise import Elementwise, elementwise_ops


class LeakyRelu(Elementwise):
    """Leaky rectifier: x where x > 0, ``leak`` times x elsewhere."""

    name = "leaky_relu"
    parameters = (Parameter("leak", Real(0, 1), 0.01, "the slope below 0"),)
    needs = ("output",)
    cheap = True
    scalar = "x if x > 0.0 else x * leak"
    derivative = "1.0 if y > 0.0 else leak"

    def reference(self, arrays: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
        x = arrays[0]
        return (np.where(x > 0, x, x * np.asarray(attrs["leak"], x.dtype)),)

    def slope(self, x: Array, y: Array, attrs: Attrs) -> Array:
        return np.where(y > 0, 1, attrs["leak"]).astype(y.dtype)


OPS = elementwise_ops(LeakyRelu())
'''
FILE, LIST, SAMPLES = "alexdsl/layers/leaky_relu.py", "alexdsl/layers/__init__.py", "tests/layers/samples.py"
LINES = {
    LIST: {'    "tanh",\n': '    "leaky_relu",\n'},
    SAMPLES: {"SHAPES = (\n": '    *(_layer("leaky_relu", (2, 4, 3, 5), leak=0.1, towers=n) for n in (1, 2)),\n'},
}
"""Lines to add, by the lines that they stand before or (samples) after."""
SPEC = """\
input image [3, 12, 12]
a = conv(8, kernel=3) | leaky_relu(0.1)
out = linear(10)
loss = softmax_cross_entropy(out, label)
"""


def files(house: Path) -> Mapping[str, str]:
    """The text of every source file."""
    paths = (path for path in house.rglob("*") if path.suffix in (".py", ".net", ".toml", ".lark"))
    return {str(path.relative_to(house)): path.read_text() for path in paths}


def added(house: Path, before: Mapping[str, str]) -> Mapping[str, int]:
    """How many lines were added to which files; none may have been changed or taken away."""
    found = {}
    for name, text in files(house).items():
        old, new = before.get(name, "").splitlines(), text.splitlines()
        rest = iter(new)
        assert all(line in rest for line in old), f"{name} was not only added to"
        if len(new) > len(old):
            found[name] = len(new) - len(old)
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the new kind in it."""
    house = tmp_path_factory.mktemp("house")
    for part in PARTS:
        (house / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
        else:
            shutil.copy(ROOT / part, house / part)
    before = files(house)
    (house / FILE).write_text(LEAKY_RELU)
    for name, lines in LINES.items():
        text = (house / name).read_text()
        for line, new in lines.items():
            assert text.count(line) == 1
            text = text.replace(line, line + new if name == SAMPLES else new + line)
        (house / name).write_text(text)
    (house / "new.net").write_text(SPEC)
    assert added(house, before) == {FILE: LEAKY_RELU.count("\n"), LIST: 1, SAMPLES: 1, "new.net": SPEC.count("\n")}
    return house


def python(house: Path, *words: str) -> str:
    """What a command prints, with the copy in place of the repository."""
    path = os.pathsep.join(map(str, (house, house / "backends")))
    done = subprocess.run(
        [sys.executable, *words], cwd=house, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_documented(house: Path) -> None:
    text = python(house, "-m", "alexdsl.cli", "layers", "leaky_relu")
    assert text.startswith("leaky_relu(leak=0.01)")
    assert "the slope below 0" in text
    assert "leaky_relu" in python(house, "-m", "alexdsl.cli", "layers")


def test_specs_may_use_it_and_it_fuses_into_conv(house: Path) -> None:
    assert "a.leaky_relu" in python(house, "-m", "alexdsl.cli", "check", "new.net")
    fused = python(house, "-m", "alexdsl.cli", "ir", "new.net", "--stage", "fused")
    assert " = conv+leaky_relu(" in fused
    assert not re.search(r" = (conv|leaky_relu)\(", fused)


def test_references_gradients_and_kernels_are_tested_by_its_samples(house: Path) -> None:
    chosen = ["tests/layers/test_reference.py", "tests/layers/test_towers.py", "tests/backends/test_cpu_kernels.py"]
    options = ["-q", "-p", "no:cacheprovider", "-k", "leaky_relu or every_kind", "-rA"]
    text = python(house, "-m", "pytest", *options, *chosen)
    passed = set(re.findall(r"^PASSED \S+::(\w+)", text, re.MULTILINE))
    assert {"test_every_kind_has_samples", "test_gradients_are_the_slopes", "test_kernels_are_the_references"} <= passed
