"""Batches: the same whatever the number of workers, from any step; and what happens when workers fail."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.data.errors import DataError
from alexdsl.data.folder import FolderSource, open_folder
from alexdsl.data.loader import Loader, default_workers
from alexdsl.data.permutation import permutation
from alexdsl.data.settings import DataSettings, Mirror, PcaNoise, RandomCrop, Sample, ShorterSide
from alexdsl.data.sources import ArraySource, array_source
from alexdsl.data.statistics import Statistics, statistics

SETTINGS = DataSettings(
    Sample(), resize=ShorterSide(16), crop=13, augment=(RandomCrop(), Mirror(), PcaNoise(0.1)), batch=8
)
COUNT, HELD_OUT = 21, 11  # neither a multiple of the batch
_random = np.random.default_rng(0)
TRAIN = array_source(_random.integers(0, 256, (COUNT, 9, 12, 3), np.uint8), np.arange(COUNT) % 5, None, "train")
VAL = array_source(_random.integers(0, 256, (HELD_OUT, 9, 12, 3), np.uint8), np.arange(HELD_OUT) % 5, None, "val")
STATISTICS = statistics(TRAIN, SETTINGS, cached=False)
ZERO = Statistics(np.zeros((3, 1, 1)), np.zeros(3), np.eye(3))


def loader(workers: int, **options: object) -> Loader:
    return Loader(TRAIN, SETTINGS, STATISTICS, 1, **{"val": VAL, "workers": workers, **options})


@pytest.fixture(scope="module")
def reference() -> list[np.ndarray]:
    with loader(0) as here:
        return [here.batch(step).images.copy() for step in range(9)]


@pytest.fixture
def photos(tmp_path: Path) -> FolderSource:
    """Twelve images in a folder; gray shades tell them apart."""
    (tmp_path / "a").mkdir()
    for i in range(12):
        Image.new("L", (16, 16), i * 20).save(tmp_path / "a" / f"{i:02}.png")
    return open_folder(str(tmp_path))


def children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No process, descriptor or shared memory outlives a loader."""

    def state() -> tuple[set[int], set[str], int]:
        gc.collect()
        # Semaphores there are those of other tests' pools, which may run beside this one; the loader has none.
        segments = {name for name in os.listdir("/dev/shm") if not name.startswith("sem.")}
        return children(), segments, len(os.listdir("/proc/self/fd"))

    processes, segments, descriptors = state()
    yield
    after = state()
    assert after[0] <= processes
    assert after[1] <= segments
    assert after[2] <= descriptors


class TestBatches:
    def test_epochs_follow_without_a_gap(self) -> None:
        with loader(0) as here:
            stream = np.concatenate([here.batch(step).indices for step in range(8)])
            assert here.steps(1) == 3
            assert here.steps(8) == 21
            assert here.epoch(21) == 8
        for epoch in range(3):
            np.testing.assert_array_equal(stream[epoch * COUNT : (epoch + 1) * COUNT], permutation(1, epoch, COUNT))

    def test_batches_larger_than_the_set(self) -> None:
        with Loader(TRAIN, replace(SETTINGS, batch=50), STATISTICS, 1, workers=0) as here:
            batch = here.batch(1)
        expected = np.concatenate([permutation(1, epoch, COUNT) for epoch in range(5)])[50:100]
        np.testing.assert_array_equal(batch.indices, expected)
        assert batch.images.shape == (50, 3, 13, 13)
        np.testing.assert_array_equal(batch.labels, expected % 5)

    def test_types(self) -> None:
        with loader(1) as here:
            batch = here.batch(0)
        assert (batch.images.dtype, batch.images.shape) == (np.float32, (8, 3, 13, 13))
        assert batch.images.flags.c_contiguous
        assert (batch.labels.dtype, batch.indices.dtype) == (np.int64, np.int64)

    @pytest.mark.parametrize("workers", [1, 3])
    def test_any_number_of_workers(self, reference: list[np.ndarray], workers: int) -> None:
        with loader(workers) as there:
            for step, images in enumerate(reference):
                np.testing.assert_array_equal(there.batch(step).images, images)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_any_order_of_steps(self, reference: list[np.ndarray], workers: int) -> None:
        with loader(workers) as there:
            there.prefetch(5)
            for step in (5, 6, 2, 2, 8, 0, 1):
                np.testing.assert_array_equal(there.batch(step).images, reference[step])

    def test_more_workers_than_images(self, reference: list[np.ndarray]) -> None:
        with Loader(TRAIN, replace(SETTINGS, batch=2), STATISTICS, 1, workers=3) as there:
            for step in range(3):
                assert there.batch(step).images.shape == (2, 3, 13, 13)
            np.testing.assert_array_equal(there.batch(0).images, reference[0][:2])

    def test_seeds_differ(self, reference: list[np.ndarray]) -> None:
        with Loader(TRAIN, SETTINGS, STATISTICS, 2, workers=0) as other:
            assert (other.batch(0).images != reference[0]).any()

    def test_batch_stays_while_the_next_are_prepared(self, reference: list[np.ndarray]) -> None:
        with loader(2) as there:
            there.batch(0)
            batch = there.batch(1)
            time.sleep(0.3)
            np.testing.assert_array_equal(batch.images, reference[1])
            list(there.evaluate_batches())
            np.testing.assert_array_equal(batch.images, reference[1])
        np.testing.assert_array_equal(batch.images, reference[1])  # even when the loader is closed

    def test_default_workers(self) -> None:
        assert 0 <= default_workers() <= 4


class TestEvaluation:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_in_order_to_the_last(self, workers: int) -> None:
        with loader(workers) as here:
            batches = [(b.images.copy(), b.labels, b.indices) for b in here.evaluate_batches()]
            again = [b.images.copy() for b in here.evaluate_batches()]
        assert [len(images) for images, _, _ in batches] == [8, 3]
        np.testing.assert_array_equal(np.concatenate([i for _, _, i in batches]), np.arange(HELD_OUT))
        np.testing.assert_array_equal(np.concatenate([labels for _, labels, _ in batches]), np.arange(HELD_OUT) % 5)
        for (images, _, _), same in zip(batches, again, strict=True):
            np.testing.assert_array_equal(images, same)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_ten_views(self, workers: int) -> None:
        with loader(workers) as here:
            one = np.concatenate([b.images.copy() for b in here.evaluate_batches()])
            ten = [(b.images.copy(), b.labels, b.indices) for b in here.evaluate_batches(10)]
        images = np.concatenate([images for images, _, _ in ten])
        assert len(images) == 10 * HELD_OUT
        np.testing.assert_array_equal(images[::10], one)
        np.testing.assert_array_equal(images[5::10], one[..., ::-1])
        np.testing.assert_array_equal(np.concatenate([i for _, _, i in ten]), np.repeat(np.arange(HELD_OUT), 10))

    def test_amid_training(self, reference: list[np.ndarray]) -> None:
        with loader(2) as here:
            for step in range(4):
                np.testing.assert_array_equal(here.batch(step).images, reference[step])
                next(here.evaluate_batches())  # left before its end
                assert sum(len(b.labels) for b in here.evaluate_batches()) == HELD_OUT

    def test_without_held_out_images(self) -> None:
        with (
            Loader(TRAIN, SETTINGS, STATISTICS, 1, workers=0) as here,
            pytest.raises(DataError, match="no held-out images"),
        ):
            next(here.evaluate_batches())


PHOTO = DataSettings(Sample(), crop=16, batch=6, mean="none")


def photo_loader(source: FolderSource, workers: int, **options: float) -> Loader:
    return Loader(source, PHOTO, ZERO, 1, workers=workers, **options)


class TestBrokenImages:
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_is_named_with_its_batch(self, photos: FolderSource, workers: int) -> None:
        order = permutation(1, 0, 12)
        broken = [photos.path(int(order[place])) for place in (8, 11)]
        for path in broken:
            path.write_bytes(path.read_bytes()[:45])
        with photo_loader(photos, workers) as here:
            assert here.batch(0).images.shape == (6, 3, 16, 16)
            for _ in range(2):
                with pytest.raises(DataError, match=rf"{broken[0].name} cannot be read as an image"):
                    here.batch(1)
            assert here.batch(0).images[0, 0, 0, 0] == 20 * order[0]  # the loader is still good


def take(here: Loader, steps: range) -> None:
    for step in steps:
        here.batch(step)


def stuck(source: FolderSource) -> None:
    """Make the image at place 4 of the first batch one that cannot be opened to its end."""
    path = source.path(int(permutation(1, 0, 12)[4]))
    path.unlink()
    os.mkfifo(path)


class TestFailingWorkers:
    def test_killed(self, photos: FolderSource) -> None:
        with photo_loader(photos, 2) as here:
            here.batch(0)
            assert here._pool is not None
            while not all(worker.ready for worker in here._pool.workers):
                here._pool.poll()
            here._pool.workers[1].process.kill()
            before = time.monotonic()
            with pytest.raises(DataError, match=r"data worker 2 of 2 was killed by SIGKILL \(perhaps out of memory\)"):
                take(here, range(1, 9))
            assert time.monotonic() - before < 5
            with pytest.raises(DataError, match="data worker 2 of 2"):
                here.batch(0)
            with pytest.raises(DataError, match="data worker 2 of 2"):
                here.prefetch(0)

    def test_killed_at_an_image(self, photos: FolderSource) -> None:
        stuck(photos)
        with photo_loader(photos, 1) as here:
            assert here._pool is not None
            here.prefetch(0)
            while here._pool._heartbeats[0, 0] < 5:
                here._pool.poll()
                time.sleep(0.01)
            here._pool.workers[0].process.kill()
            name = photos.path(int(permutation(1, 0, 12)[4])).name
            with pytest.raises(DataError, match=rf"was killed by SIGKILL .*, last at .*{name}"):
                here.batch(0)

    def test_ended(self, photos: FolderSource, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("alexdsl.data.pool._COMMAND", "import sys; sys.exit(7)")
        with photo_loader(photos, 1) as here:
            time.sleep(0.5)
            with pytest.raises(DataError, match="data worker 1 of 1 ended with exit code 7 before it had started up"):
                take(here, range(9))

    def test_cannot_start(self, photos: FolderSource, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(DataError, match=r"the data workers cannot be started: .*/nowhere/python"):
            photo_loader(photos, 1)

    def test_stuck(self, photos: FolderSource) -> None:
        stuck(photos)
        with photo_loader(photos, 1, patience=1.0) as here:
            here.prefetch(0)
            name = photos.path(int(permutation(1, 0, 12)[4])).name
            before = time.monotonic()
            with pytest.raises(DataError, match=rf"data worker 1 of 1 has been stuck for 1 s, last at .*{name}"):
                here.batch(0)
            assert time.monotonic() - before < 5

    def test_stopped(self, photos: FolderSource) -> None:
        with photo_loader(photos, 1, patience=1.0) as here:
            assert here._pool is not None
            here.prefetch(0)
            here.batch(0)
            here._pool.workers[0].process.send_signal(signal.SIGSTOP)
            with pytest.raises(DataError, match="stuck"):
                take(here, range(1, 9))

    def test_slow_is_not_stuck(self, photos: FolderSource) -> None:
        with photo_loader(photos, 1, patience=20.0) as here:
            assert here._pool is not None
            here.prefetch(0)
            here.batch(0)
            pid = here._pool.workers[0].process.pid
            os.kill(pid, signal.SIGSTOP)
            with subprocess.Popen(["/bin/sh", "-c", f"sleep 1; kill -CONT {pid}"]):
                take(here, range(1, 9))

    def test_fault_of_a_source(self) -> None:
        flat = ArraySource(np.zeros((12, 16), np.uint8), np.zeros(12, np.int64), ["a"], "x")  # by hand: not checked
        with (
            Loader(flat, replace(PHOTO, crop=4), ZERO, 1, workers=1) as here,
            pytest.raises(DataError, match=r"preparing image \d+ of x failed: IndexError"),
        ):
            here.batch(0)


SCRIPT = """
import sys, time
from alexdsl.data.loader import Loader
sys.path.insert(0, {tests!r})
from test_loader import loader
if __name__ == "__main__":
    there = loader(2)
    there.batch(0)
    print(*(worker.process.pid for worker in there._pool.workers), flush=True)
    {then}
"""


def run(then: str, kill: int | None = None) -> tuple[int, list[int], str]:
    """Run a program that holds a loader: its exit code, its workers, what it said."""
    script = SCRIPT.format(tests=str(Path(__file__).parent), then=then)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        if kill is not None:
            process.send_signal(kill)
        _, said = process.communicate(timeout=20)
        return process.returncode, workers, said


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


class TestEnds:
    def test_of_the_program_without_closing(self) -> None:
        code, workers, said = run("sys.exit(3)")
        assert (code, said) == (3, "")
        assert len(workers) == 2
        assert all(map(gone, workers))

    @pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_of_the_program_by_a_signal(self, kill: int) -> None:
        code, workers, said = run("time.sleep(60)", kill)
        assert code == -kill
        assert said.count("Traceback") == (kill == signal.SIGINT)  # the program's own, none of the workers'
        assert len(workers) == 2
        assert all(map(gone, workers))

    def test_of_the_loader(self) -> None:
        there = loader(2)
        there.close()
        there.close()
        with pytest.raises(DataError, match="has been closed"):
            there.batch(0)
        here = loader(1)
        del here

    def test_workers_heed_no_interrupt(self) -> None:
        with loader(1) as there:
            there.batch(0)
            assert there._pool is not None
            while not there._pool.ready:
                there._pool.poll()
            there._pool.workers[0].process.send_signal(signal.SIGINT)
            for step in range(1, 6):
                there.batch(step)


def test_workers_import_little() -> None:
    script = "import sys; sys.path[:] = sys.argv[1:]; import alexdsl.data.worker; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-I", "-c", script, *sys.path], capture_output=True, text=True, check=True)
    modules = set(said.stdout.split())
    assert not modules & {
        "numba",
        "llvmlite",
        "scipy",
        "torch",
        "lark",
        "alexdsl.train",
        "alexdsl.passes",
    }
