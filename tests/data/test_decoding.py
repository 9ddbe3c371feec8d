"""Files of every odd kind come out as upright gray or RGB bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexdsl.data.decoding import decode
from alexdsl.data.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GRAY = RGB[:, :, 0]
ALPHA = RGB[:, :, 1].copy()
ALPHA[0, :3] = 0, 255, 128


def on_white(pixels: np.ndarray) -> np.ndarray:
    share = ALPHA[:, :, None] / 255
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_rgb_and_gray_png(tmp_path: Path) -> None:
    np.testing.assert_array_equal(decode(saved(Image.fromarray(RGB), tmp_path / "a.png")), RGB)
    np.testing.assert_array_equal(decode(saved(Image.fromarray(GRAY), tmp_path / "g.png")), GRAY[:, :, None])


def test_one_bit_and_gray_with_alpha(tmp_path: Path) -> None:
    one = decode(saved(Image.fromarray(GRAY > 99), tmp_path / "1.png"))
    np.testing.assert_array_equal(one, np.where(GRAY > 99, 255, 0)[:, :, None])
    both = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(ALPHA)])
    np.testing.assert_array_equal(decode(saved(both, tmp_path / "la.png")), on_white(GRAY[:, :, None]))


def test_transparent_pictures_lie_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.dstack([RGB, ALPHA]))
    np.testing.assert_array_equal(decode(saved(image, tmp_path / "a.png")), on_white(RGB))
    drawing = Image.new("RGBA", (9, 6))  # black on nothing, as icons are
    drawing.putpixel((2, 3), (0, 0, 0, 255))
    seen = decode(saved(drawing, tmp_path / "drawing.png"))
    assert seen[3, 2].tolist() == [0, 0, 0]
    assert seen.sum() == 255 * (seen.size - 3)


def test_one_colour_that_is_transparent(tmp_path: Path) -> None:
    key = tuple(int(value) for value in RGB[2, 3])
    seen = decode(saved(Image.fromarray(RGB), tmp_path / "a.png", transparency=key))
    np.testing.assert_array_equal(seen, np.where((key == RGB).all(2, keepdims=True), 255, RGB))
    one = decode(saved(Image.fromarray(GRAY), tmp_path / "g.png", transparency=int(GRAY[2, 3])))
    np.testing.assert_array_equal(one[:, :, 0], np.where(GRAY[2, 3] == GRAY, 255, GRAY))


@pytest.mark.parametrize("transparency", [None, 3, b"\x00\x80\xff"])
def test_palette(tmp_path: Path, transparency: object) -> None:
    image = Image.fromarray(GRAY % 4).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    options = {} if transparency is None else {"transparency": transparency}
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    alpha = np.full(4, 255)
    if isinstance(transparency, bytes):
        alpha[: len(transparency)] = list(transparency)
    elif transparency is not None:
        alpha[transparency] = 0
    expected = np.rint(palette * (alpha[:, None] / 255) + 255 - alpha[:, None])
    np.testing.assert_array_equal(decode(saved(image, tmp_path / "p.png", **options)), expected[GRAY % 4])


def test_sixteen_bits(tmp_path: Path) -> None:
    wide = (GRAY.astype(np.uint16) << 8) + 77
    np.testing.assert_array_equal(decode(saved(Image.fromarray(wide), tmp_path / "w.png")), GRAY[:, :, None])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_jpeg_is_what_pillow_reads(tmp_path: Path, subsampling: str) -> None:
    path = saved(Image.fromarray(RGB), tmp_path / "a.jpg", quality=80, subsampling=subsampling)
    with Image.open(path) as image:
        np.testing.assert_allclose(decode(path).astype(int), np.asarray(image).astype(int), atol=1)
    gray = saved(Image.fromarray(GRAY), tmp_path / "g.jpg")
    with Image.open(gray) as image:
        np.testing.assert_allclose(decode(gray)[:, :, 0].astype(int), np.asarray(image).astype(int), atol=1)


def test_jpeg_of_more_pixels_than_pillow_allows_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.fromarray(RGB), tmp_path / "bomb.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB.size // 3 // 4)
    with pytest.raises(DataError, match=r"bomb\.jpg cannot be read as an image: .*decompression bomb"):
        decode(path)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    pixels = decode(saved(flat, tmp_path / "c.jpg", quality=95))
    assert pixels.shape == (16, 16, 3)
    np.testing.assert_allclose(pixels[8, 8], [255, 0, 0], atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32] = 255, 0, 0
    upright[16:, :32] = 0, 255, 0
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),  # a viewer turns it clockwise, so it was stored turned the other way
        7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turn[orientation](upright)))
    got = decode(saved(stored, tmp_path / f"o.{suffix}", exif=exif, **({"quality": 98} if suffix == "jpg" else {})))
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).mean() < 4


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RGB), tmp_path / "e.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff", quality=98)
    assert decode(path).shape == RGB.shape


def test_large_jpeg_is_decoded_smaller(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 1024).astype(np.uint8), (800, 1))
    path = saved(Image.fromarray(ramp), tmp_path / "big.jpg", quality=95)
    assert decode(path).shape == (800, 1024, 1)
    small = decode(path, at_least=100)
    assert small.shape == (200, 256, 1)
    assert decode(path, at_least=401).shape == (800, 1024, 1)
    np.testing.assert_allclose(small[100, ::16, 0], np.linspace(0, 255, 256)[::16], atol=4)


def test_the_content_decides_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "n02105855_2933.JPEG"
    Image.fromarray(RGB).save(path, "PNG")
    np.testing.assert_array_equal(decode(path), RGB)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"hello", "neither JPEG nor PNG"),
        (b"%!PS-Adobe-3.0 EPSF", "neither JPEG nor PNG"),
    ],
)
def test_no_image(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"bad\.jpg cannot be read as an image: {reason}"):
        decode(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_truncated(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"cut.{suffix}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"cut\.\w+ cannot be read"):
        decode(path)


def test_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has gone since"):
        decode(tmp_path / "x.png")
