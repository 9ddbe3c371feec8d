"""Downloads against a server on localhost: gone on with, checked, and without a network a sentence that helps."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from alexdsl.cli import main
from alexdsl.cli.data.get import NAMES
from alexdsl.data import published
from alexdsl.data.download import NetworkError, Remote, fetch
from alexdsl.data.errors import DataError
from alexdsl.data.published import CIFAR_ROW, SETS
from alexdsl.data.resolve import resolve
from alexdsl.data.settings import DataSettings, Folder, Idx, Npz
from tests.data.corpus import encoded, picture

BODY = np.random.default_rng(0).bytes(300_000)


class Server(ThreadingHTTPServer):
    """Files by name. ``ranges``: whether it can go on; ``drop``: bytes after which a connection breaks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"set.bin": BODY}
        self.ranges, self.drop, self.status, self.length = True, 0, 200, True
        self.asked: list[str | None] = []

    def remote(self, name: str = "set.bin", most: int = 1_000_000) -> Remote:
        url = f"http://127.0.0.1:{self.server_address[1]}/some/folder/{name}"
        return Remote(url, hashlib.md5(self.files.get(name, b"")).hexdigest(), most)


class Handler(BaseHTTPRequestHandler):
    """Answers GET, with Range."""

    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        body = server.files.get(self.path.rpartition("/")[2])
        if body is None or server.status != 200:
            self.send_error(404 if body is None else server.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start and start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if server.length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : start + server.drop] if server.drop else body[start:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def test_whole(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = fetch(server.remote(), tmp_path / "new", lambda *now: told.append(now))
    assert path.read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["set.bin"]
    fetch(server.remote(), tmp_path / "new")
    assert server.asked == [None]  # what is there is not fetched again


@pytest.mark.parametrize("have", [1, 1000, len(BODY) - 1, len(BODY)])
def test_goes_on_where_it_stopped(have: int, server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(BODY[:have])
    assert fetch(server.remote(), tmp_path).read_bytes() == BODY
    assert server.asked == [f"bytes={have}-"]


def test_broken_connections(server: Server, tmp_path: Path) -> None:
    server.drop = 40_000
    assert fetch(server.remote(), tmp_path).read_bytes() == BODY
    assert server.asked == [None] + [f"bytes={start}-" for start in range(40_000, len(BODY), 40_000)]


def test_a_server_that_cannot_go_on(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "set.bin.part").write_bytes(b"x" * 5000)
    assert fetch(server.remote(), tmp_path).read_bytes() == BODY
    server.length = False
    (tmp_path / "set.bin").unlink()
    assert fetch(server.remote(), tmp_path).read_bytes() == BODY


def test_a_part_of_something_else_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(b"x" * (len(BODY) + 5))
    assert fetch(server.remote(), tmp_path).read_bytes() == BODY


def test_another_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gave another file than was published \(its MD5 differs\)"):
        fetch(replace(server.remote(), md5="0" * 32), tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match="is there, but is not what was published"):
        fetch(server.remote(), tmp_path)
    assert (tmp_path / "set.bin").read_bytes() == b"mine"


def test_more_than_there_can_be(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is larger than the 100,000 bytes that it can have"):
        fetch(server.remote(most=100_000), tmp_path)
    assert (tmp_path / "set.bin.part").stat().st_size <= 100_000


@pytest.mark.parametrize("status", [403, 404, 503])
def test_refused(status: int, server: Server, tmp_path: Path) -> None:
    server.status = status
    with pytest.raises(NetworkError, match=r"cannot be fetched: .*fetch that file elsewhere and put it at .*set\.bin"):
        fetch(server.remote(), tmp_path)
    assert len(server.asked) == (5 if status == 503 else 1)


def test_the_sets_offered_are_those_said() -> None:
    assert tuple(SETS) == NAMES
    for chosen in SETS.values():
        for remote in chosen.files:
            assert len(bytes.fromhex(remote.md5)) == 16
            assert remote.name


def offered(monkeypatch: pytest.MonkeyPatch, server: Server, name: str, files: dict[str, bytes]) -> None:
    """Let a set's files come from the server."""
    server.files.update(files)
    remotes = [server.remote(remote.name) for remote in SETS[name].files]
    monkeypatch.setitem(published.SETS, name, replace(SETS[name], files=remotes))


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes())


def tgz(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return out.getvalue()


def test_fashion_mnist(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = np.random.default_rng(1).integers(0, 256, (6, 28, 28), np.uint8), np.arange(6, dtype=np.uint8)
    files = {
        "train-images-idx3-ubyte.gz": idx(images),
        "train-labels-idx1-ubyte.gz": idx(labels),
        "t10k-images-idx3-ubyte.gz": idx(images[:2]),
        "t10k-labels-idx1-ubyte.gz": idx(labels[:2]),
    }
    offered(monkeypatch, server, "fashion-mnist", files)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "get", "fashion-mnist"]) == 0
    train, labels_file, val, val_labels = (f"fashion-mnist/{name}" for name in files)
    said = capsys.readouterr().out
    assert f'source = idx("{train}", "{labels_file}")' in said
    assert f'val = idx("{val}", "{val_labels}")' in said
    resolved = resolve(DataSettings(Idx(train, labels_file), val=Idx(val, val_labels)))
    np.testing.assert_array_equal(resolved.train.read(3)[:, :, 0], images[3])


def test_cifar_10(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.random.default_rng(2).integers(0, 256, (12, CIFAR_ROW), np.uint8)
    rows[:, 0] = np.arange(12) % 3
    folder = "cifar-10-batches-bin"
    members = {f"{folder}/data_batch_{i + 1}.bin": rows[2 * i : 2 * i + 2].tobytes() for i in range(5)}
    members[f"{folder}/test_batch.bin"] = rows[10:].tobytes()
    members[f"{folder}/batches.meta.txt"] = b"airplane\nautomobile\nbird\n\n"
    offered(monkeypatch, server, "cifar-10", {"cifar-10-binary.tar.gz": tgz(members)})
    assert main(["data", "get", "cifar-10", str(tmp_path / "c")]) == 0
    assert f'source = npz("{tmp_path / "c" / "cifar-10.npz"}")' in capsys.readouterr().out
    resolved = resolve(DataSettings(Npz(str(tmp_path / "c" / "cifar-10.npz"))))
    assert resolved.classes == ("airplane", "automobile", "bird")
    assert (len(resolved.train), resolved.train.label(4)) == (10, 1)
    np.testing.assert_array_equal(resolved.train.read(4), rows[4, 1:].reshape(3, 32, 32).transpose(1, 2, 0))
    assert resolved.val is not None
    np.testing.assert_array_equal(resolved.val.labels, rows[10:, 0])


def test_imagenette(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {
        f"imagenette2-320/{part}/n0{i}/{i}.JPEG": encoded(picture(i), "JPEG")
        for part in ("train", "val")
        for i in range(3)
    }
    offered(monkeypatch, server, "imagenette", {"imagenette2-320.tgz": tgz(files)})
    for _ in range(2):
        assert main(["data", "get", "imagenette", str(tmp_path)]) == 0
    resolved = resolve(DataSettings(Folder(str(tmp_path / "imagenette2-320"))))
    assert resolved.val is not None
    assert (len(resolved.train), len(resolved.val)) == (3, 3)


def test_without_a_network(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offered(monkeypatch, server, "imagenette", {"imagenette2-320.tgz": b""})
    server.shutdown()
    server.server_close()
    assert main(["data", "get", "imagenette", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Connection refused" in said
    assert f"fetch that file elsewhere and put it at {tmp_path / 'imagenette2-320.tgz'}" in said


def test_no_such_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "get", "imagenete"]) == 2
    assert "there is no set 'imagenete': did you mean 'imagenette'?" in capsys.readouterr().err
