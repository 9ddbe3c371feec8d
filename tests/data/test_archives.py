"""Archives made to harm: nothing lands outside, nothing grows without bound, and half an unpacking is none."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from alexdsl.data.archives import read_members, unpack
from alexdsl.data.errors import DataError

MB = 1_000_000


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, target, size, 0o4777
    return info


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, raw in members:
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return path


def test_a_good_one(tmp_path: Path) -> None:
    path = archive(tmp_path / "set.tgz", (member("set/a/1.jpg"), b"one"), (member("set/2.jpg"), b"two"))
    unpack(path, tmp_path / "set", MB)
    assert (tmp_path / "set" / "a" / "1.jpg").read_bytes() == b"one"
    assert not (tmp_path / "set" / "2.jpg").stat().st_mode & 0o7022  # neither set-uid nor writable by others
    assert read_members(path, {"2.jpg": 3}, MB) == {"2.jpg": b"two"}


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil"),
        member("set/../../evil"),
        member("set/link", tarfile.SYMTYPE, "../../outside"),
        member("set/link", tarfile.SYMTYPE, "/etc"),
        member("set/link", tarfile.LNKTYPE, "../../outside"),
        member("set/device", tarfile.CHRTYPE),
        member("set/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.linkname}",
)
def test_nothing_lands_outside(evil: tarfile.TarInfo, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = archive(tmp_path / "set.tgz", (member("set/1.jpg"), b"one"), (evil, b""))
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(path, tmp_path / "in" / "set", MB)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["in", "set.tgz"]


def test_an_absolute_name_is_a_name_below(tmp_path: Path) -> None:
    path = archive(tmp_path / "set.tgz", (member("set/1.jpg"), b"one"), (member(f"/{tmp_path}/set/evil"), b"x"))
    unpack(path, tmp_path / "set", MB)
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["1.jpg"]


def zipped(path: Path, header: tarfile.TarInfo, size: int) -> Path:
    """A header and zeros, of which a million take a thousand bytes."""
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size // MB):
            file.write(bytes(MB))
    return path


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.tgz", member("set/zeros", size=10**13), 40 * MB)
    with pytest.raises(DataError, match="set/zeros would take 10,000,000,000,000 bytes"):
        unpack(path, tmp_path / "set", 20 * MB)
    many = archive(tmp_path / "many.tgz", *[(member(f"set/{i}"), bytes(MB)) for i in range(30)])
    with pytest.raises(DataError, match="would take more than 20,000,000 bytes"):
        unpack(many, tmp_path / "set", 20 * MB)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["many.tgz", "set.tgz"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_without_end_takes_no_memory(kind: bytes, tmp_path: Path) -> None:
    """tarfile reads a long name as a whole; in a plain archive it is not even begun."""
    header = member("name", kind, size=1 << 34)
    path = tmp_path / "ILSVRC2012_img_train.tar"
    with path.open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(1 << 35)
    zipped(tmp_path / "set.tgz", header, 400 * MB)
    code = (
        "import sys; from pathlib import Path\n"
        "from alexdsl.data.archives import unpack; from alexdsl.data.errors import DataError\n"
        "from alexdsl.data.shards.ilsvrc import list_train\n"
        "folder = Path(sys.argv[1])\n"
        "for use in (lambda: list_train(folder / 'ILSVRC2012_img_train.tar'),\n"
        "            lambda: unpack(folder / 'set.tgz', folder / 'set', 20_000_000)):\n"
        "    try: use()\n"
        "    except DataError as error: print(error)\n"
        # Not ru_maxrss, which begins with what the process was forked from.
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0])\n"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    train, packed, kilobytes = out.splitlines()
    assert "claims a header of 17,179,869,184 bytes" in train
    assert "would take more than 20,000,000 bytes" in packed
    assert int(kilobytes) < 200_000


@pytest.mark.parametrize("cut", [0, 10, 100, -20])
def test_cut_off(cut: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "set.tgz", (member("set/1.jpg"), bytes(range(256)) * 40))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"set\.tgz"):
        unpack(path, tmp_path / "set", MB)
    assert not (tmp_path / "set").exists()


def test_another_archive(tmp_path: Path) -> None:
    path = archive(tmp_path / "set.tgz", (member("other/1.jpg"), b"one"))
    with pytest.raises(DataError, match="holds no folder set"):
        unpack(path, tmp_path / "set", MB)
    with pytest.raises(DataError, match=r"other/1\.jpg has 3 bytes, more than it can have"):
        read_members(path, {"1.jpg": 2}, MB)
