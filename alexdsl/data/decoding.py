"""JPEG and PNG files to arrays of bytes: every colour mode becomes gray or RGB, upright."""

from __future__ import annotations

import os
import threading
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from alexdsl.data.errors import Fault, ImageError

# Files often carry a wrong extension (ImageNet has a PNG called .JPEG), so the content decides; no format among these
# runs another program, as Pillow's reader of PostScript would.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
_JPEG = b"\xff\xd8\xff"
_BEGINNINGS = (_JPEG, b"\x89PNG", b"GIF8", b"BM", b"RIFF")
_COLOURS = {"Gray": "GRAY", "YCbCr": "RGB"}
_EXIF, _HEAD = b"Exif\0\0", 1 << 17
# Pillow warns of damaged EXIF data, which does not touch the picture. Warnings are filtered for the whole process at
# once, so one thread at a time.
_quiet = threading.Lock()
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION = 0x0112  # EXIF's tag; its values say how to turn the stored picture
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(path: Path, at_least: int | None = None) -> NDArray[np.uint8]:
    """The picture in a file, as ``decode_bytes`` has it. Raises ImageError, naming the file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{shown(path)} has gone since its folder was listed", "unreadable") from None
    except OSError as error:
        raise ImageError(f"{shown(path)} cannot be read as an image: {error}", "unreadable") from None
    return decode_bytes(raw, shown(path), at_least)


def decode_bytes(raw: bytes, name: str, at_least: int | None = None) -> NDArray[np.uint8]:
    """The picture in a file's bytes: uint8 [height, width, 1 or 3]; ``name`` is what messages call it.

    ``at_least``: a picture whose shorter side keeps this many pixels is enough; a JPEG file of at least four times the
    size is then decoded at a half of it or less. Raises ImageError.
    """
    try:
        array = _plain_jpeg(raw, at_least)
        if array is not None and _EXIF not in raw[:_HEAD]:
            return array
        with opened(raw) as image:
            if array is None:
                array = _bytes(image)
            turn = orientation(image)  # loaded first: a PNG file may say it after the pixels
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise ImageError(f"{name} cannot be read as an image: {_reason(error)}", _fault(error, raw)) from None
    if turn in _UPRIGHT:
        upright = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).transpose(_UPRIGHT[turn])
        array = np.asarray(upright).reshape(upright.height, upright.width, -1)
    return array


def _plain_jpeg(raw: bytes, at_least: int | None) -> NDArray[np.uint8] | None:
    """A gray or YCbCr JPEG file's picture by libjpeg-turbo, straight into an array: in half of Pillow's time.

    None for all else: Pillow reads it, or says what is wrong with it.
    """
    if not raw.startswith(_JPEG):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(raw)
        if colours not in _COLOURS or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        least = 2 * at_least if at_least is not None else 0
        found: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            raw, _COLOURS[colours], min_height=least, min_width=least, min_factor=2 if least else 1
        )
        return found
    except ValueError:
        return None


def opened(raw: bytes) -> Image.Image:
    """An image whose header has been read, without a warning of what is odd in it. Raises what Pillow raises."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(BytesIO(raw), formats=_FORMATS)


def orientation(image: Image.Image) -> int:
    """How a loaded image is to be turned: EXIF's number."""
    if "exif" not in image.info:
        return 1
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return int(image.getexif().get(_ORIENTATION, 1))
        except Exception:  # damaged EXIF data says nothing about the picture itself
            return 1


def _bytes(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits of gray: Pillow's own conversion would clip at 255
        wide = np.asarray(image).clip(0, 65535).astype(np.uint16)
        return np.right_shift(wide, 8).astype(np.uint8)[:, :, None]
    gray = image.mode in ("1", "L", "LA")
    if image.mode in _ALPHA or "transparency" in image.info:
        image = _on_white(image.convert("RGBA"))
    return np.asarray(image.convert("L"))[:, :, None] if gray else np.asarray(image.convert("RGB"))


def _on_white(image: Image.Image) -> Image.Image:
    """An RGBA picture as every viewer shows it. What lies under transparent pixels is often black, so that drawings in
    black would vanish without it."""
    ground = Image.new("RGB", image.size, (255, 255, 255))
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "neither JPEG nor PNG data"
    text = str(error).split("\n")[0]
    return text or type(error).__name__


def _fault(error: Exception, raw: bytes) -> Fault:
    """The sort of what is wrong with a file's bytes."""
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return "too large"
    if not raw:
        return "empty"
    unknown = isinstance(error, UnidentifiedImageError) and not raw.startswith(_BEGINNINGS)
    return "no image" if unknown else "damaged"


def shown(path: Path) -> str:
    """A path as text for people."""
    return os.fsencode(path).decode("utf-8", "replace")  # names need not be valid text
