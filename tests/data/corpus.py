"""Odd and broken image files of every sort that people have met, and what is to become of each."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


class Odd(NamedTuple):
    """A file: its name, its bytes, and either what is noted of it when it is stored or the fault it is skipped for."""

    name: str
    raw: bytes
    notes: tuple[str, ...] | None = None
    fault: str | None = None


def picture(seed: int = 0, height: int = 40, width: int = 60) -> Image.Image:
    """A smooth picture with some noise."""
    rows, columns = np.mgrid[:height, :width]
    planes = np.stack([rows * 4, columns * 3, rows + columns + 13 * seed], -1) % 256
    noise = np.random.default_rng(seed).integers(0, 30, planes.shape)
    return Image.fromarray((planes * 0.8 + noise).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """An image's file."""
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def png(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    """A PNG file of these header fields and this image data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def handled() -> Iterator[Odd]:
    """Files that hold a picture, however odd."""
    rgb, gray = picture(), picture(1).convert("L")
    yield Odd("plain.jpg", encoded(rgb, "JPEG"), ())
    yield Odd("grayscale.jpg", encoded(gray, "JPEG"), ("grayscale",))
    yield Odd("cmyk.jpg", encoded(rgb.convert("CMYK"), "JPEG"), ("CMYK",))
    yield Odd("progressive.jpg", encoded(rgb, "JPEG", progressive=True), ())
    yield Odd("fine colours.jpg", encoded(rgb, "JPEG", subsampling=0), ())
    yield Odd("profile.jpg", encoded(rgb, "JPEG", icc_profile=b"no profile"), ())
    yield Odd("bytes after the end.jpg", encoded(picture(2), "JPEG") + b"\0" * 999, ())
    yield Odd("UPPER.JPEG", encoded(picture(3), "JPEG"), ())
    yield Odd("damaged exif.jpg", encoded(rgb, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), ())
    for turn in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield Odd(f"rotated {turn}.jpg", encoded(rgb, "JPEG", exif=exif), ("rotated by EXIF",))
    yield Odd("really a png.jpg", encoded(rgb, "PNG"), ("named as another format",))
    yield Odd("really a jpeg.png", encoded(rgb, "JPEG"), ("named as another format",))
    yield Odd("palette.png", encoded(rgb.quantize(16), "PNG"), ("palette",))
    yield Odd("see-through palette.png", encoded(rgb.quantize(9), "PNG", transparency=1), ("palette", "transparent"))
    yield Odd("alpha.png", encoded(rgb.convert("RGBA"), "PNG"), ("transparent",))
    yield Odd("gray alpha.png", encoded(gray.convert("LA"), "PNG"), ("transparent",))
    yield Odd("one bit.png", encoded(gray.convert("1"), "PNG"), ("one bit",))
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) << 8)
    yield Odd("16 bits gray.png", encoded(deep, "PNG"), ("16 bits",))
    rows = b"".join(b"\0" + bytes(6 * 9) for _ in range(7))
    yield Odd("16 bits colour.png", png(9, 7, 16, 2, zlib.compress(rows)), ("16 bits",))
    yield Odd("interlaced.png", encoded(rgb, "PNG", interlace=1), ())
    still = [picture(seed) for seed in (4, 5, 6)]
    animated = "animated, its first picture taken"
    for form, name in (("PNG", "animated.png"), ("WEBP", "animated.webp")):
        yield Odd(name, encoded(still[0], form, save_all=True, append_images=still[1:]), (animated,))
    yield Odd("animated.gif", encoded(still[0], "GIF", save_all=True, append_images=still[1:]), ("palette", animated))
    yield Odd("still.gif", encoded(rgb.quantize(8), "GIF"), ("palette",))
    yield Odd("windows.bmp", encoded(rgb, "BMP"), ())
    yield Odd("new.webp", encoded(rgb, "WEBP"), ())
    yield Odd("one pixel.png", encoded(picture(7, 1, 1), "PNG"), ())
    yield Odd("narrow.png", encoded(picture(8, 200, 2), "PNG"), ())
    yield Odd("name with ümlaut, comma.jpg", encoded(picture(9), "JPEG"), ())


def skipped() -> Iterator[Odd]:
    """Files that hold no picture that can be used."""
    jpeg, whole = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    yield Odd("zero.jpg", b"", fault="empty")
    yield Odd("text.jpg", b"this is no picture\n", fault="no image")
    yield Odd("page.png", b"<!doctype html><title>404</title>", fault="no image")
    yield Odd("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n", fault="no image")
    yield Odd("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", fault="no image")
    yield Odd("zeros.jpg", bytes(4096), fault="no image")
    yield Odd("photo.tiff", encoded(picture(), "TIFF"), fault="no image")
    for part in (3, len(jpeg) // 10, len(jpeg) // 2, len(jpeg) - len(jpeg) // 10):
        yield Odd(f"truncated at {part}.jpg", jpeg[:part], fault="damaged")
    for part in (8, len(whole) // 2):
        yield Odd(f"truncated at {part}.png", whole[:part], fault="damaged")
    middle = len(whole) // 2
    yield Odd("flipped bits.png", whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :], fault="damaged")
    yield Odd("truncated.webp", encoded(picture(), "WEBP")[:200], fault="damaged")
    yield Odd("no pixels.gif", b"GIF89a" + bytes(20), fault="damaged")
    # Half a terabyte of pixels in a file of some bytes, and a strip that would be scaled to 65 million columns.
    yield Odd("bomb.png", png(400_000, 400_000, 8, 2, zlib.compress(bytes(1000))), fault="too large")
    strip = zlib.compress(b"\0" + bytes(300_000))
    yield Odd("strip.png", png(300_000, 1, 8, 0, strip), fault="too long")


def write(folder: Path) -> list[Odd]:
    """Write all files into a folder; what they are."""
    folder.mkdir(parents=True)
    files = [*handled(), *skipped()]
    for file in files:
        (folder / file.name).write_bytes(file.raw)
    return files
