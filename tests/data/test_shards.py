"""Shards: a standard tar layout, the same bytes however often stopped, read by the index by any number of workers."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from alexdsl.data.errors import DataError, WorkerError
from alexdsl.data.loader import Loader
from alexdsl.data.resolve import class_names, resolve
from alexdsl.data.settings import DataSettings, Env, Folder, Mirror, PcaNoise, RandomCrop, Sample, Shards, ShorterSide
from alexdsl.data.shards.convert import Options
from alexdsl.data.shards.index import RECORD, Index
from alexdsl.data.shards.inputs import listings
from alexdsl.data.shards.listing import list_folder
from alexdsl.data.shards.preparation import Preparation, prepare
from alexdsl.data.shards.source import ShardSource
from alexdsl.data.statistics import statistics
from tests.data.corpus import encoded, picture, png

COUNT = 23
HOW = Preparation(Options(32), per_shard=5, processes=2)
SETTINGS = DataSettings(
    Sample(), resize=ShorterSide(24), crop=20, augment=(RandomCrop(), Mirror(), PcaNoise(0.1)), batch=8
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes; one image of each is broken."""
    root = tmp_path_factory.mktemp("photos")
    for i in range(COUNT):
        path = root / "abc"[i % 3] / f"{i:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(picture(i), "JPEG") if i >= 3 else b"broken")
    return root


@pytest.fixture(scope="module")
def prepared(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "set"
    prepare(list_folder(photos), folder, HOW)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a prepared set."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestLayout:
    def test_tar_files_pair_an_image_with_its_class(self, photos: Path, prepared: Path) -> None:
        index = Index(prepared)
        seen = 0
        for number, path in enumerate(sorted(prepared.glob("*.tar"))):
            with tarfile.open(path) as shard:
                members = shard.getmembers()
                for image, label in zip(members[::2], members[1::2], strict=True):
                    key = image.name.removesuffix(".jpg")
                    assert label.name == f"{key}.cls"
                    record = index.records[seen]
                    assert (record["shard"], record["offset"], record["size"]) == (
                        number,
                        image.offset_data,
                        image.size,
                    )
                    text, raw = shard.extractfile(label), shard.extractfile(image)
                    assert text is not None
                    assert raw is not None
                    assert int(text.read()) == record["label"]
                    assert raw.read() == index.raw(seen)
                    assert index.name(seen).startswith("abc"[record["label"]])
                    seen += 1
        assert seen == len(index) == COUNT - 3

    def test_shards_are_shuffled(self, prepared: Path) -> None:
        names = [Index(prepared).name(i) for i in range(COUNT - 3)]
        assert names != sorted(names)

    def test_statistics_are_those_of_all_stored_pixels(self, prepared: Path) -> None:
        source, description = ShardSource(prepared), Index(prepared).description
        pixels = np.concatenate([source.read(i).reshape(-1, 3) for i in range(len(source))]).astype(float)
        np.testing.assert_allclose(description.mean, pixels.mean(0), atol=0.5)  # before JPEG's losses
        np.testing.assert_allclose(
            description.eigenvalues, np.linalg.eigvalsh(np.cov(pixels.T))[::-1], rtol=0.02, atol=3
        )

    def test_the_index_takes_as_much_room_as_is_said(self) -> None:
        assert RECORD.itemsize == 56


class TestRestart:
    def test_processes_do_not_show(self, photos: Path, prepared: Path, tmp_path: Path) -> None:
        prepare(list_folder(photos), tmp_path / "set", Preparation(Options(32), 5, 1))
        assert contents(tmp_path / "set") == contents(prepared)

    @pytest.mark.parametrize("lost", [[0], [1, 3], [0, 1, 2, 3, 4]])
    def test_what_is_lost_is_made_again(self, lost: list[int], photos: Path, prepared: Path, tmp_path: Path) -> None:
        folder = tmp_path / "set"
        stopped_before_the_end(photos, folder)
        for number in lost:
            (folder / f"shard-{number:06}.tar").unlink()
            (folder / f".shard-{number:06}.tar.1.tmp").write_bytes(b"half")
        times = {path: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
        prepare(list_folder(photos), folder, HOW)
        assert contents(folder) == contents(prepared)
        assert all(path.stat().st_mtime_ns == then for path, then in times.items())

    def test_killed(self, photos: Path, prepared: Path, tmp_path: Path) -> None:
        folder = tmp_path / "set"
        words = ["data", "prepare", str(photos), str(folder), "--side", "32", "--per-shard", "5", "--processes", "2"]
        for kill_after in (1, 2, 4):
            process = subprocess.Popen([sys.executable, "-m", "alexdsl.cli", *words], stdout=subprocess.DEVNULL)
            parts = folder / "parts"
            while process.poll() is None and len(list(parts.glob("0*.json")) if parts.exists() else []) < kill_after:
                time.sleep(0.002)
            workers = list(children(process.pid))
            process.send_signal(signal.SIGKILL)
            process.wait()
            wait_for_the_end(workers)  # nobody is left to write
        prepare(list_folder(photos), folder, HOW)
        assert contents(folder) == contents(prepared)

    @pytest.mark.slow
    def test_killed_at_random_moments(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text(
            "".join(f"{photos}/{'abc'[i % 3]}/{i:02}.jpg,{i % 3}\n" for i in [*range(COUNT)] * 9)
        )
        words = [sys.executable, "-m", "alexdsl.cli", "data", "prepare", str(tmp_path / "list.csv")]
        options = ["--side", "32", "--per-shard", "9", "--processes", "2"]
        subprocess.run([*words, str(tmp_path / "once"), *options], check=True, capture_output=True)
        random, kills = np.random.default_rng(0), 0
        while kills < 20:
            process = subprocess.Popen([*words, str(tmp_path / "often"), *options], stdout=subprocess.DEVNULL)
            try:
                assert process.wait(random.uniform(0.5, 2.5)) == 0
                assert contents(tmp_path / "often") == contents(tmp_path / "once")
                shutil.rmtree(tmp_path / "often")
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        subprocess.run([*words, str(tmp_path / "often"), *options], check=True, capture_output=True)
        assert contents(tmp_path / "often") == contents(tmp_path / "once")

    @pytest.mark.parametrize("moment", ["first", "planned", "described"])
    def test_stopped_between_two_files(self, moment: str, photos: Path, prepared: Path, tmp_path: Path) -> None:
        if moment == "first":
            (tmp_path / ".plan.json.1.tmp").write_bytes(b"half")
        elif moment == "planned":
            (tmp_path / "plan.json").write_bytes((prepared / "plan.json").read_bytes())
        else:
            for name, raw in contents(prepared).items():
                (tmp_path / name).write_bytes(raw)
            (tmp_path / "parts").mkdir()
            (tmp_path / "parts" / "000000.json").write_bytes(b"{}")
        prepare(list_folder(photos), tmp_path, HOW)
        assert contents(tmp_path) == contents(prepared)

    def test_a_finished_set_is_left_alone(self, photos: Path, prepared: Path) -> None:
        times = {path: path.stat().st_mtime_ns for path in prepared.iterdir() if path.is_file()}
        prepare(list_folder(photos), prepared, HOW)
        assert {path: path.stat().st_mtime_ns for path in times} == times

    def test_other_settings_or_images_are_refused(self, photos: Path, prepared: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="holds a preparation of side 32, not 64: remove it"):
            prepare(list_folder(photos), prepared, Preparation(Options(64), 5))
        with pytest.raises(DataError, match="holds a preparation of other images"):
            prepare(list_folder(photos, known=("c", "b", "a")), prepared, HOW)
        (tmp_path / "mine.txt").write_text("")
        with pytest.raises(DataError, match="holds other things already"):
            prepare(list_folder(photos), tmp_path, HOW)

    def test_a_process_that_dies_is_told_with_its_image(self, photos: Path, tmp_path: Path) -> None:
        source = tmp_path / "src"
        (source / "a").mkdir(parents=True)
        (source / "a" / "1.jpg").symlink_to(photos / "a" / "03.jpg")
        rows = zlib.compress(bytes(13_001 * 13_000), 1)  # decoding takes long enough to be killed in
        (source / "a" / "slow.png").write_bytes(png(13_000, 13_000, 8, 0, rows))

        def kill_one(done: int, total: int) -> None:
            deadline = time.monotonic() + 60
            at = tmp_path / "dst" / "parts" / ".000000.at.tmp"

            def wait_and_kill() -> None:
                while not (at.exists() and b"slow" in at.read_bytes()) and time.monotonic() < deadline:
                    time.sleep(0.01)
                for pid in children(os.getpid()):
                    if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)

            threading.Thread(target=wait_and_kill).start()

        with pytest.raises(WorkerError, match=r"died, perhaps for want of memory.* Processes were at a/slow\.png$"):
            prepare(list_folder(source), tmp_path / "dst", HOW, kill_one)

    def test_an_interrupt_waits_for_no_shard(self, tmp_path: Path) -> None:
        rows = zlib.compress(bytes(13_001 * 13_000), 1)
        (tmp_path / "slow.png").write_bytes(png(13_000, 13_000, 8, 0, rows))
        (tmp_path / "list.csv").write_text("slow.png,a\n" * 500)  # minutes
        words = [
            sys.executable,
            "-m",
            "alexdsl.cli",
            "data",
            "prepare",
            str(tmp_path / "list.csv"),
            str(tmp_path / "dst"),
        ]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not (tmp_path / "dst" / "parts" / ".000000.at.tmp").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        workers = list(children(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == "stopped\n"
        assert process.returncode == 130
        wait_for_the_end(workers)

    def test_two_at_once(self, photos: Path, tmp_path: Path) -> None:
        import fcntl

        with (tmp_path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(DataError, match="another preparation is at work"):
                prepare(list_folder(photos), tmp_path, HOW)


def stopped_before_the_end(photos: Path, folder: Path) -> None:
    """A preparation all of whose shards are written, but which was stopped before it was finished."""

    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(list_folder(photos), folder, HOW, stop)


def children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        yield from map(int, task.read_text().split())


def wait_for_the_end(processes: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(alive(process) for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestLoading:
    def test_the_same_batches_whatever_the_number_of_workers(self, prepared: Path) -> None:
        source = ShardSource(prepared)
        measured = statistics(source, SETTINGS, cached=False)
        found = []
        for workers in (0, 1, 3):
            with Loader(source, SETTINGS, measured, 7, val=source, workers=workers) as loader:
                batches = [loader.batch(step) for step in range(5)]
                images = [loader.batch(step).images.copy() for step in range(5)]
                found.append((images, [batch.labels for batch in batches], [batch.indices for batch in batches]))
        for other in found[1:]:
            np.testing.assert_equal(other, found[0])
        assert sorted(np.concatenate(found[0][2])[: len(source)]) == list(range(len(source)))

    def test_workers_are_sent_the_name_only(self, prepared: Path) -> None:
        source = ShardSource(prepared)
        packed = pickle.dumps(source, protocol=5)
        assert len(packed) < 500
        np.testing.assert_array_equal(pickle.loads(packed).labels, source.labels)
        assert isinstance(Index(prepared).records, np.memmap)

    def test_sees_what_a_folder_does(self, photos: Path, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        prepare(list_folder(photos), kept, Preparation(Options(None), 5, 1))
        source = ShardSource(kept)
        direct = list_folder(photos)
        by_name = {direct[i].name: direct[i] for i in range(len(direct))}
        index = Index(kept)
        for i in range(len(source)):
            assert index.raw(i) == by_name[index.name(i)].read()
            assert source.label(i) == by_name[index.name(i)].label

    def test_changed_bytes_are_noticed(self, photos: Path, tmp_path: Path) -> None:
        folder = tmp_path / "set"
        prepare(list_folder(photos), folder, HOW)
        index = Index(folder)
        record = index.records[4]
        with (folder / "shard-000000.tar").open("r+b") as shard:
            shard.seek(int(index.records[0]["offset"]) + 300)
            shard.write(b"\0\1\2")
        source = ShardSource(folder)
        with pytest.raises(DataError, match=r"shard-000000\.tar is not what was stored: its checksum differs"):
            source.read(0)
        assert source.read(4).shape[:2] == (record["height"], record["width"])
        os.truncate(folder / "shard-000000.tar", 700)
        with pytest.raises(DataError, match=r"ends after 188 of [\d,]+ bytes"):
            source.read(0)
        (folder / "shard-000000.tar").unlink()
        with pytest.raises(DataError, match=r"cannot be read: No such file"):
            source.read(0)


class TestSettings:
    def test_resolve(self, prepared: Path) -> None:
        settings = DataSettings(Shards(Env("SET"), Sample()))
        resolved = resolve(settings, {"SET": str(prepared)})
        assert resolved.classes == ("a", "b", "c") == class_names(settings, {"SET": str(prepared)})
        assert (len(resolved.train), resolved.val, resolved.notice) == (COUNT - 3, None, None)
        fallen = resolve(settings, {})
        assert fallen.notice is not None
        assert fallen.notice.endswith("SET=/path/to/shards alexdsl run ...")
        with pytest.raises(DataError, match="SET is not set; it should name what alexdsl data prepare wrote"):
            resolve(DataSettings(Shards(Env("SET"))), {})

    def test_train_and_val(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "src").mkdir()
        for name in ("train", "val"):
            (tmp_path / "src" / name).symlink_to(photos)
        for part, listing in listings(tmp_path / "src"):
            prepare(listing, tmp_path / "dst" / part, HOW)
        resolved = resolve(DataSettings(Shards(str(tmp_path / "dst"))))
        assert resolved.val is not None
        assert len(resolved.val) == len(resolved.train) == COUNT - 3
        own = resolve(DataSettings(Folder(str(photos)), val=Shards(str(tmp_path / "dst"))))
        assert own.val is not None
        assert own.val.name(0) == resolved.val.name(0)

    def test_classes_are_matched_by_name(self, prepared: Path) -> None:
        known = ShardSource(prepared, ("x", "c", "b", "a"))
        assert [known.classes[i] for i in known.labels] == [("a", "b", "c")[i] for i in ShardSource(prepared).labels]
        with pytest.raises(DataError, match="has a class 'c' that the training images do not have"):
            ShardSource(prepared, ("a", "b"))

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("dataset.json", b"{}", "of version None"),
            ("dataset.json", b"[1]", "does not describe a prepared set"),
            ("dataset.json", b'{"version": 1}', "does not describe a prepared set"),
            ("index.npy", b"", "the index cannot be read"),
            ("index.npy", pickle.dumps([1]), "the index cannot be read"),
            ("names.bin", b"", "the index cannot be read"),
        ],
    )
    def test_damaged_sets(self, file: str, text: bytes, message: str, prepared: Path, tmp_path: Path) -> None:
        for name, raw in contents(prepared).items():
            (tmp_path / name).write_bytes(raw)
        (tmp_path / file).write_bytes(text)
        with pytest.raises(DataError, match=message):
            ShardSource(tmp_path)

    def test_places_outside_of_the_set_are_not_read(self, prepared: Path, tmp_path: Path) -> None:
        for name, raw in contents(prepared).items():
            (tmp_path / name).write_bytes(raw)
        description = json.loads((tmp_path / "dataset.json").read_text())
        for shard in description["shards"]:
            shard["file"] = "/etc/../etc/passwd"
        (tmp_path / "dataset.json").write_text(json.dumps(description))
        with pytest.raises(DataError, match="cannot be read: No such file"):
            ShardSource(tmp_path).read(0)

    def test_a_prepared_set_taken_for_a_folder(self, prepared: Path, tmp_path: Path) -> None:
        (tmp_path / "train").symlink_to(prepared)
        for path in (prepared, tmp_path):
            with pytest.raises(DataError, match=r'holds a prepared set: source = shards\(".*"\) reads it'):
                resolve(DataSettings(Folder(str(path))))

    def test_no_set(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"holds no prepared set: there is no dataset\.json"):
            resolve(DataSettings(Shards(str(tmp_path))))
