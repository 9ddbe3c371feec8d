"""The memory of a run does not grow with its images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from alexdsl.data.resolve import resolve
from alexdsl.data.settings import DataSettings, Sample

MEASURE = """
import json, re, sys
from pathlib import Path
from alexdsl.cli import main
from alexdsl.data.loader import Loader

def peak(process):
    # Not ru_maxrss, which begins with what the process was forked from.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path(f"/proc/{process}/status").read_text())[1])

workers = []
end = Loader.close

def measured(self):
    workers.extend(peak(worker.process.pid) for worker in self._pool.workers)
    end(self)

Loader.close = measured
assert main(["run", *sys.argv[1:]]) == 0
print(json.dumps({"run": peak("self"), "workers": workers}))
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folders ``few`` and ``many`` of 300 and 3,000 JPEG files."""
    source = resolve(DataSettings(source=Sample("fashion"), batch=1)).train
    for name, count in (("few", 300), ("many", 3000)):
        for i in range(count):
            path = tmp_path / name / str(source.label(i)) / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.read(i)[:, :, 0]).save(path)
    return tmp_path


def kilobytes(photos: Path, name: str, out: str) -> int:
    """The peaks of a run of two epochs over a folder, and of its workers, added up."""
    words = [
        "specs/lenet5.net", "--out", str(photos / out), "--epochs", "2", "--set", "data.val=split(10%)",
        "--set", f'data.source=folder("{photos / name}")', "--set", "data.batch=32", "--save-every", "10",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["workers"]
    return int(found["run"] + sum(found["workers"]))


def test_ten_times_as_many_images_take_no_more_than_two_percent_more_memory(photos: Path) -> None:
    kilobytes(photos, "few", "first")  # compiles what is not in the cache
    few = min(kilobytes(photos, "few", f"few-{i}") for i in range(2))
    many = min(kilobytes(photos, "many", f"many-{i}") for i in range(2))
    assert many < 1.02 * few
