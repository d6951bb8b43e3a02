"""Pictures of the user's own, in folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from integrand.errors import UsageError

from ..images.augment import Augmentation
from ..images.base import Scaling
from .answers import Answers
from .base import OwnDataModule
from .cards import IMAGE_FOLDER
from .image_files import Pictures, scan
from .picture_source import Colour, PictureSource, Wishes, unit_pixels
from .pictures import Fit, open_picture
from .source import Source

_HEAD = 1 << 16  # bytes of a file that enter the digest


class ImageFolder(OwnDataModule):
    """Pictures in one folder for each class, or in `train`, `val` and `test` with such folders inside.

    PNG, JPEG, WebP, BMP, GIF, TIFF and PPM of any size, grey or in colours. They are decoded when a batch
    asks for them, and kept if all of them fit into 512 MB. Pictures without folders have no classes: their
    distribution is asked for.

    Args:
        path: The folder.
        side: Height and width that pictures are brought to; by default the median shorter side, at most 64.
        fit: How other shapes become square: `crop` takes the middle, `pad` fills with black, `stretch`.
        colour: Whether inputs are `grey` or `rgb`; by default grey if every picture is.
        normalise: Scale of the pixels: zero mean and unit deviation per channel, [0, 1], or [-1, 1].
        augment: Changes of the training images, such as RandomCrop; none by default.
        **kwargs: See `OwnDataModule`.

    Raises:
        UsageError: An option is out of its domain.
    """

    card = IMAGE_FOLDER

    def __init__(
        self,
        path: str,
        side: int | None = None,
        fit: Fit = "crop",
        colour: Colour = "auto",
        normalise: Scaling = "standard",
        augment: list[Augmentation] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if side is not None and not 1 <= side <= 4096:
            raise UsageError(f"side={side} makes no images", "set data.side to 1 … 4096")
        self.path, self.augment = path, augment or ()
        self.wishes = Wishes(side, fit, colour, normalise)

    @classmethod
    def pixel_options(cls, shape: Sequence[int]) -> dict[str, Any]:
        """See `OwnDataModule.pixel_options`."""
        return unit_pixels(shape)

    def source(self) -> Source:
        """See `OwnDataModule.source`."""
        known = None if self.described is None else _classes(self.described)
        try:
            found = scan(self.path, known)
        except OSError as error:
            raise UsageError(
                f"{error.filename} cannot be read: {error.strerror}", "check its permissions"
            ) from error
        return ImageFiles(self.path, found, self.wishes)


def _classes(description: Mapping[str, Any]) -> list[str]:
    return list(description["spec"]["question"].get("names") or ())


class ImageFiles(PictureSource):
    """Pictures of a folder.

    Args:
        path: What the user calls it.
        found: The files.
        wishes: How they become inputs.
    """

    def __init__(self, path: str, found: Pictures, wishes: Wishes) -> None:
        answers = None if found.classes is None else Answers(np.array(found.classes), ("class",))
        name = Path(path).expanduser().resolve().stem or "images"
        self.files = found.files
        labels = [str(file) for file in found.files]
        super().__init__(
            *(path, name, found.ids, answers, found.parts, found.said),
            *(labels, lambda row: open_picture(found.files[row]), wishes),
        )

    def content(self) -> Iterator[bytes]:
        """Names, lengths, and the first 64 kB of each file."""
        for name, file in zip(self.ids, self.files, strict=True):
            with file.open("rb") as opened:
                head = opened.read(_HEAD)
            yield f"{name}\0{file.stat().st_size}\0".encode() + hashlib.sha256(head).digest()
