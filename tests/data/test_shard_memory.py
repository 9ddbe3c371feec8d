"""Ten times as many images take no more memory, neither of the trainer nor of its workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from alexdsl.data.shards.convert import Options
from alexdsl.data.shards.index import DESCRIPTION, INDEX, NAMES
from alexdsl.data.shards.listing import list_folder
from alexdsl.data.shards.preparation import Preparation, prepare
from tests.data.corpus import encoded, picture

RUN = """
import re, sys
from pathlib import Path
from alexdsl.data.loader import Loader
from alexdsl.data.settings import DataSettings, RandomCrop, Shards
from alexdsl.data.shards.source import ShardSource
from alexdsl.data.statistics import statistics
source = ShardSource(Path(sys.argv[1]))
settings = DataSettings(Shards(sys.argv[1]), crop=24, augment=(RandomCrop(),), batch=16)
measured = statistics(source, settings, cached=False)
with Loader(source, settings, measured, 0, workers=1) as loader:
    for step in range(40):
        loader.batch(step)
    for process in ("self", loader._pool.workers[0].process.pid):
        status = Path(f"/proc/{process}/status").read_text()
        print(sum(int(found) for found in re.findall(r"Rss(?:Anon|Shmem):\\s+(\\d+)", status)))
"""


def enlarged(source: Path, folder: Path, times: int) -> Path:
    """A set whose index holds every image of another one so many times."""
    folder.mkdir()
    for shard in source.glob("*.tar"):
        (folder / shard.name).symlink_to(shard)
    records, names = np.load(source / INDEX), (source / NAMES).read_bytes()
    many = np.tile(records, times)
    many["name_end"] += np.repeat(np.arange(times, dtype=np.uint64) * np.uint64(len(names)), len(records))
    np.save(folder / INDEX, many)
    (folder / NAMES).write_bytes(names * times)
    description = json.loads((source / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**description, "images": len(many)}))
    return folder


def test_memory_does_not_grow_with_images(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / "src" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / "ab"[i % 2] / f"{i}.jpg").write_bytes(encoded(picture(i), "JPEG"))
    prepare(list_folder(tmp_path / "src"), tmp_path / "set", Preparation(Options(32), processes=1))
    taken = []
    for times in (2_500, 25_000):
        folder = enlarged(tmp_path / "set", tmp_path / f"times {times}", times)
        done = subprocess.run([sys.executable, "-c", RUN, str(folder)], capture_output=True, text=True, check=True)
        taken.append([int(line) for line in done.stdout.split()])
    print(taken)
    for few, many in zip(*taken, strict=True):
        assert many < 1.02 * few
