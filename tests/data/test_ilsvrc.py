"""A miniature of the ILSVRC2012 archives: nested tars, synset IDs, the ground truth; and archives made to harm."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from alexdsl.data.errors import DataError
from alexdsl.data.resolve import resolve
from alexdsl.data.settings import DataSettings, Shards
from alexdsl.data.shards.convert import Options
from alexdsl.data.shards.ilsvrc import KIT_FILE, list_train, list_val, read_kit
from alexdsl.data.shards.inputs import listings
from alexdsl.data.shards.preparation import Preparation, prepare
from tests.data.corpus import encoded, picture

# ILSVRC2012_IDs are in another order than synset IDs; 4 is an inner node, which labels nothing.
SYNSETS = {1: "n02119789", 2: "n01440764", 3: "n03100240", 4: "n00001740"}
WORDS = {1: "kit fox, Vulpes macrotis", 2: "tench, Tinca tinca", 3: "convertible", 4: "entity"}
TRUTH = [3, 1, 1, 2, 3]
Members = list[tuple[str, bytes]]


def tar(members: Members, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.GNU_FORMAT) as file:
        for name, raw in members:
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            file.addfile(member, io.BytesIO(raw))
    return out.getvalue()


def meta() -> bytes:
    """The table of synsets as MATLAB saves it."""
    fields = [("ILSVRC2012_ID", float), ("WNID", object), ("words", object), ("gloss", object), ("num_children", float)]
    rows = np.array([(i, SYNSETS[i], WORDS[i], "", 3 if i == 4 else 0) for i in SYNSETS], dtype=fields)
    out = io.BytesIO()
    savemat(out, {"synsets": rows.reshape(-1, 1)})
    return out.getvalue()


def kit(truth: str = "\n".join(map(str, TRUTH)), table: bytes | None = None) -> bytes:
    root = "ILSVRC2012_devkit_t12"
    text = truth.encode()
    members = [
        (f"{root}/readme.txt", b""),
        (f"{root}/data/ILSVRC2012_validation_ground_truth.txt", text),
        (f"{root}/data/meta.mat", meta() if table is None else table),
    ]
    return tar(members, "w:gz")


def image(seed: int) -> bytes:
    return encoded(picture(seed), "JPEG")


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """The folder of the three archives."""
    inner = {SYNSETS[i]: tar([(f"{SYNSETS[i]}_{n}.JPEG", image(10 * i + n)) for n in range(i + 1)]) for i in (1, 2, 3)}
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(tar([(f"{name}.tar", raw) for name, raw in inner.items()]))
    images = [(f"ILSVRC2012_val_{n:08}.JPEG", image(n)) for n in range(1, 6)]
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(tar(images[::-1]))  # the order of names counts, not the tar's
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(kit())
    return tmp_path


def test_training_images(archives: Path) -> None:
    listing = list_train(archives / "ILSVRC2012_img_train.tar")
    assert listing.classes == ("n01440764", "n02119789", "n03100240")
    assert np.bincount(listing.labels).tolist() == [3, 2, 4]
    for i in range(len(listing)):
        synset, _, file = listing[i].name.partition("/")
        assert listing.classes[listing[i].label] == synset
        number = next(number for number, name in SYNSETS.items() if name == synset)
        assert listing[i].read() == image(10 * number + int(file.removesuffix(".JPEG").split("_")[1]))


def test_validation_images_get_their_classes_from_the_kit(archives: Path) -> None:
    listing = list_val(archives / "ILSVRC2012_img_val.tar", read_kit(archives / "ILSVRC2012_devkit_t12.tar.gz"))
    assert [listing.classes[listing[i].label] for i in range(5)] == [SYNSETS[number] for number in TRUTH]
    assert [listing[i].read() for i in range(5)] == [image(n) for n in range(1, 6)]


def test_prepared(archives: Path, tmp_path: Path) -> None:
    for part, listing in listings(archives):
        made = prepare(listing, tmp_path / "dst" / part, Preparation(Options(32), 4, 1))
        assert made.words["n01440764"] == "tench, Tinca tinca"
    resolved = resolve(DataSettings(Shards(str(tmp_path / "dst"))))
    assert (len(resolved.train), resolved.classes) == (9, ("n01440764", "n02119789", "n03100240"))
    assert resolved.val is not None
    assert len(resolved.val) == 5
    for i in range(5):
        number = int(resolved.val.name(i).partition(".")[0][-8:])
        assert resolved.classes[resolved.val.label(i)] == SYNSETS[TRUTH[number - 1]]


def test_parts_of_it(archives: Path) -> None:
    (archives / "ILSVRC2012_img_val.tar").rename(archives / "elsewhere")
    assert [part for part, _ in listings(archives)] == ["train"]
    (archives / "elsewhere").rename(archives / "ILSVRC2012_img_val.tar")
    (archives / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(DataError, match=r"says nothing of its images' classes: put ILSVRC2012_devkit_t12\.tar\.gz"):
        list(listings(archives))


def test_a_train_archive_that_was_cut_off(archives: Path) -> None:
    path = archives / "ILSVRC2012_img_train.tar"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="cannot be read as an archive of synsets' archives"):
        list_train(path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"no archive", "cannot be unpacked"),
        (kit("1 2 x"), "holds something else than a number a line"),
        (kit(table=b"no table"), r"meta\.mat is not the table of synsets"),
        (tar([("a/meta.mat", b"")]), r"holds no ILSVRC2012_validation_ground_truth\.txt"),
    ],
)
def test_bad_kits(raw: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "kit.tar.gz").write_bytes(raw)
    with pytest.raises(DataError, match=message):
        read_kit(tmp_path / "kit.tar.gz")


@pytest.mark.parametrize(
    ("truth", "message"),
    [("1\n2", "holds 5 images, but the kit has 2 labels"), ("1\n" * 4 + "9", "gives .* the number 9")],
)
def test_labels_that_do_not_fit(truth: str, message: str, archives: Path) -> None:
    (archives / "kit.tar.gz").write_bytes(kit(truth))
    with pytest.raises(DataError, match=message):
        list_val(archives / "ILSVRC2012_img_val.tar", read_kit(archives / "kit.tar.gz"))


def test_a_kit_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A few kB that unpack to a file of 64 MB."""
    member = tarfile.TarInfo("data/meta.mat")
    member.size = 4 * KIT_FILE
    (tmp_path / "kit.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(member.size)))
    with pytest.raises(DataError, match=r"meta\.mat has 67,108,864 bytes, more than it can have"):
        read_kit(tmp_path / "kit.tar.gz")


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    """Members called by paths upwards, absolute paths and links: names only, and links are no images."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name in ("../../evil.JPEG", "/tmp/evil/absolute.JPEG"):
            member = tarfile.TarInfo(name)
            member.size = len(image(1))
            file.addfile(member, io.BytesIO(image(1)))
        link = tarfile.TarInfo("link.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_img_train.tar").write_bytes(tar([("../n01440764.tar", out.getvalue())]))
    ((_, listing),) = listings(folder)
    assert [listing[i].name for i in range(len(listing))] == ["n01440764/evil.JPEG", "n01440764/absolute.JPEG"]
    made = prepare(listing, folder / "dst", Preparation(Options(32), processes=1))
    assert made.images == 2
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and folder / "dst" not in path.parents]
    assert outside == [folder / "ILSVRC2012_img_train.tar"]
