"""One picture of the user's as pixels of a given size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from integrand.errors import IntegrandError, UsageError

from .suffixes import IMAGES

Fit = Literal["crop", "pad", "stretch"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What is opened: formats of plain pixels, whose readers start no other program."""
LARGEST = 1 << 26
"""Pixels of one picture; it would take 200 MB in memory."""
_GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture."""
    return path.suffix.casefold() in IMAGES


def open_picture(path: Path) -> Image.Image:
    """A picture whose header is read and whose pixels are not."""
    return Image.open(path, formats=FORMATS)


def is_grey(picture: Image.Image) -> bool:
    """Whether it has no colours."""
    return picture.mode in _GREY


@contextmanager
def damaged(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one line that names the picture.

    Raises:
        UsageError: The picture cannot be read.
    """
    try:
        yield
    except IntegrandError:
        raise
    except Exception as error:  # damaged bytes can fail in any way
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(f"{name} cannot be read as an image: {first}", "mend it, or take it out") from error


def check_header(picture: Image.Image, name: str) -> None:
    """Refuse a picture that would not fit into memory, and one whose white nobody knows.

    Raises:
        UsageError: It is too large, or its pixels are floating-point numbers.
    """
    if picture.mode == "F":
        raise UsageError(
            f"{name} is a picture of floating-point numbers, which do not say what is white",
            "save it with 8 or 16 bits, or give arrays: --data Arrays",
        )
    if picture.width * picture.height > LARGEST:
        raise UsageError(
            f"{name} is a picture of {picture.width} by {picture.height} pixels",
            f"shrink it to {LARGEST} pixels or fewer",
        )


def pixels(picture: Image.Image, channels: int, side: int, fit: Fit) -> npt.NDArray[np.uint8]:
    """A picture as bytes, shape (channels, side, side).

    Args:
        picture: The picture, turned as its EXIF tag says.
        channels: 1 for grey, 3 for RGB.
        side: Height and width.
        fit: `crop` takes the middle of the longer side, `pad` fills the shorter one with black, `stretch`
            changes the proportions.
    """
    mode = "L" if channels == 1 else "RGB"
    if picture.format == "JPEG":
        picture.draft(mode, (side, side))  # decodes at a fraction of the size
    picture = _bytes(ImageOps.exif_transpose(picture)).convert(mode)
    how, size = Image.Resampling.BILINEAR, (side, side)
    if picture.size != size:
        if fit == "crop":
            picture = ImageOps.fit(picture, size, how)
        elif fit == "pad":
            picture = ImageOps.pad(picture, size, how)
        else:
            picture = picture.resize(size, how)
    array: npt.NDArray[Any] = np.array(picture, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _bytes(picture: Image.Image) -> Image.Image:
    """Grey levels of 16 bits as 8: Pillow's own conversion would clip them."""
    if not picture.mode.startswith("I"):
        return picture
    levels = np.asarray(picture, dtype=np.int64)
    return Image.fromarray((levels.clip(0, 65535) >> 8).astype(np.uint8))
