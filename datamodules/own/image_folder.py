"""Pictures of the user's own, in folders."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any, Literal

import numpy as np

from integrand.errors import UsageError
from integrand.spec import ImageSpec, Question, Spec

from ..images.augment import Augmentation
from ..images.base import Scaling, scaling
from ..images.loading import Inputs
from .answers import Answers, Rows
from .base import OwnDataModule
from .cards import IMAGE_FOLDER
from .image_files import Pictures, scan
from .pictures import Fit, check_size, damaged, is_grey, open_picture
from .source import Description, Source
from .stores import LazyImages, moments

Colour = Literal["auto", "grey", "rgb"]
USUAL = 64
"""Largest side unless the user wants more."""
MEASURED = 2000
"""Training images of which mean and deviation are taken."""
_HEAD = 1 << 16  # bytes of a file that enter the digest


@dataclass(frozen=True)
class Wishes:
    """How pictures become inputs; see `ImageFolder`."""

    side: int | None = None
    fit: Fit = "crop"
    colour: Colour = "auto"
    normalise: Scaling = "standard"


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


class ImageFiles(Source):
    """Pictures of a folder; their headers are read, each once.

    Args:
        path: What the user calls it.
        found: The files.
        wishes: How they become inputs.

    Raises:
        UsageError: A header is damaged.
    """

    def __init__(self, path: str, found: Pictures, wishes: Wishes) -> None:
        answers = None if found.classes is None else Answers(np.array(found.classes), ("class",))
        name = Path(path).expanduser().resolve().stem or "images"
        super().__init__(path, name, found.ids, answers, found.parts, found.said)
        self.files, self.wishes = found.files, wishes
        self.sizes, grey = [], True
        for file in self.files:
            with damaged(str(file)), open_picture(file) as picture:
                check_size(picture, str(file))
                self.sizes.append(picture.size)
                grey = grey and is_grey(picture)
        self.grey = grey

    def describe(self, train: Rows) -> dict[str, Any]:
        """See `Source.describe`."""
        wishes = self.wishes
        channels = {"grey": 1, "rgb": 3, "auto": 1 if self.grey else 3}[wishes.colour]
        side = wishes.side or min(USUAL, median_low(min(self.sizes[i]) for i in train))
        sizes = Counter(self.sizes)
        if set(sizes) != {(side, side)}:
            (width, height), n = sizes.most_common(1)[0]
            most = f"most {width}×{height}" if n > 1 else "all of different sizes"
            self.said.append(
                f"{self.where}: images of {_sizes(len(sizes))} ({most}) are brought to {side}×{side} "
                f"(data.side), data.fit: {wishes.fit}"
            )
        measured = train
        if len(train) > MEASURED:
            chosen = np.argsort(np.random.PCG64(0).random_raw(len(train)), kind="stable")[:MEASURED]
            measured = np.sort(train[chosen])
        mean, std = moments(self._images(channels, side, wishes.fit), measured)
        if min(std) <= 0:
            raise UsageError(
                f"{self.where}: every pixel of a channel is alike", "give images that show something"
            )
        mean, std = [m / 255 for m in mean], [s / 255 for s in std]
        kind = "grey" if channels == 1 else "RGB"
        self.said.append(
            f"{self.where}: {len(self.files)} images, {kind}; mean {_short(mean)}, deviation {_short(std)} "
            f"of {len(measured)} training images"
        )
        return {
            "shape": [channels, side, side],
            "fit": wishes.fit,
            "normalise": wishes.normalise,
            "mean": mean,
            "std": std,
            "white": 255,
        }

    def spec(self, question: Question, description: Description) -> Spec:
        """See `Source.spec`."""
        return image_spec(self.name, question, description)

    def inputs(self, description: Description) -> tuple[Inputs, list[float], list[float]]:
        """See `Source.inputs`."""
        channels, side, other = description["shape"]
        if side != other:
            raise UsageError(
                f"{self.where}: the model takes images of {other}×{side}", "give them as --data Arrays"
            )
        images = self._images(channels, side, description.get("fit", "crop"))
        return images, *pixel_scaling(description)

    def content(self) -> Iterator[bytes]:
        """Names, lengths, and the first 64 kB of each file."""
        for name, file in zip(self.ids, self.files, strict=True):
            with file.open("rb") as opened:
                head = opened.read(_HEAD)
            yield f"{name}\0{file.stat().st_size}\0".encode() + hashlib.sha256(head).digest()

    def _images(self, channels: int, side: int, fit: Fit) -> LazyImages:
        return LazyImages(
            [str(f) for f in self.files], lambda i: open_picture(self.files[i]), channels, side, fit
        )


def image_spec(name: str, question: Question, description: Description) -> ImageSpec:
    """The spec of images; grey levels have a width where pixels are bytes."""
    channels, height, width = description["shape"]
    scale, _ = pixel_scaling(description)
    widths = tuple(scale) if description["white"] == 255 else ()
    return ImageSpec(name, question, (channels, height, width), widths)


def pixel_scaling(description: Description) -> tuple[list[float], list[float]]:
    """Factor and shift of each channel, from pixel to input."""
    d = description
    return scaling(d["normalise"], d["mean"], d["std"], d["white"])


def _sizes(n: int) -> str:
    return "one size" if n == 1 else f"{n} sizes"


def _short(values: list[float]) -> str:
    return " ".join(f"{v:.3g}" for v in values)
