"""Peers in processes of their own: what they answer, on which cores they are, and how they fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.turns import TURN, Command, Peer, interleave, running, some_cores

PEER = """
import os
from time import sleep
from benchmarks.turns import serve

def work():
    print("a library talks")
    sleep(0.001)

serve(work, cores=sorted(os.sched_getaffinity(0)), threads=os.environ["OMP_NUM_THREADS"])
"""


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A peer that sleeps a thousandth of a second, beside the real ones."""
    folder = tmp_path / "benchmarks" / "peers"
    folder.mkdir(parents=True)
    (folder / "sleeper.py").write_text(PEER)
    (folder / "broken.py").write_text("raise SystemExit(3)")
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "turns.py").write_text(Path("benchmarks/turns.py").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return Command("sleeper", "sleeper", [], some_cores(1))


def test_a_peer_answers_with_the_seconds_of_its_work_whatever_libraries_print(peer: Command) -> None:
    with running([peer]) as peers:
        seconds = interleave(peers, 3)["sleeper"]
        assert 0.001 <= seconds < TURN
        assert peers[0].facts == {"cores": list(peer.cores), "threads": "1"}
        assert peers[0].peak() > 1e6


WAITER = """
from time import sleep
from benchmarks.turns import serve
serve(lambda: None, lambda: sleep(0.05))
"""


def test_waiting_for_what_was_begun_is_part_of_a_turn(peer: Command) -> None:
    Path("benchmarks/peers/waiter.py").write_text(WAITER)
    with running([Command("waiter", "waiter", [], peer.cores)]) as peers:
        # As many runs as last half a second if each is waited for: ten, after which is waited once.
        assert peers[0].turn() >= 0.05 / 10


def test_a_peer_that_ends_says_so(peer: Command) -> None:
    with pytest.raises(RuntimeError, match="broken ended with code 3"):
        Peer(Command("broken", "broken", [], peer.cores))


def test_more_cores_than_there_are_is_said() -> None:
    with pytest.raises(SystemExit, match="cores are asked for"):
        some_cores(len(os.sched_getaffinity(0)) + 1)


def test_peers_run_in_this_python(peer: Command) -> None:
    found = Peer(peer)
    assert os.readlink(f"/proc/{found._process.pid}/exe") == os.path.realpath(sys.executable)
    found.close()
