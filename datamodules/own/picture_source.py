"""Pictures as a source: one side, one number of channels, one scale, whatever they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Literal

import numpy as np
from PIL import Image

from integrand.errors import UsageError
from integrand.spec import ImageSpec, Question, Spec

from ..images.base import Scaling, scaling
from ..images.loading import Inputs
from .answers import Answers, Rows
from .pictures import Fit, check_header, damaged, is_grey
from .source import Description, Source
from .stores import LazyImages, moments

Colour = Literal["auto", "grey", "rgb"]
USUAL = 64
"""Largest side unless the user wants more."""
MEASURED = 2000
"""Training images of which mean and deviation are taken."""


@dataclass(frozen=True)
class Wishes:
    """How pictures become inputs; see `ImageFolder`."""

    side: int | None = None
    fit: Fit = "crop"
    colour: Colour = "auto"
    normalise: Scaling = "standard"


def unit_pixels(shape: Sequence[int]) -> dict[str, Any]:
    """Options for pictures as pixels in [0, 1] of a shape (C, H, W); a shape that is not square is left."""
    channels, height, width = shape
    return {
        "normalise": "unit",
        "colour": "grey" if channels == 1 else "rgb",
        "side": height if height == width else None,
    }


class PictureSource(Source):
    """Pictures whose headers are read, each once; see `Source`.

    Args:
        where: What errors and messages call all of them.
        name: Name of the data set.
        ids: What each is called in predictions.
        answers: The true answers, None where there are none.
        parts: The part of each where the data say it, else None.
        said: Lines for the user.
        labels: What errors call each picture.
        opened: Opens a picture by its row.
        wishes: How they become inputs.

    Raises:
        UsageError: A header is damaged, or promises too many pixels.
    """

    def __init__(
        self,
        where: str,
        name: str,
        ids: Sequence[str],
        answers: Answers | None,
        parts: Sequence[str] | None,
        said: Sequence[str],
        labels: Sequence[str],
        opened: Callable[[int], Image.Image],
        wishes: Wishes,
    ) -> None:
        super().__init__(where, name, ids, answers, parts, said)
        self.labels, self.opened, self.wishes = labels, opened, wishes
        self.sizes: list[tuple[int, int]] = []
        self.grey = True
        for row, label in enumerate(labels):
            with damaged(label), opened(row) as picture:
                check_header(picture, label)
                self.sizes.append(picture.size)
                self.grey = self.grey and is_grey(picture)

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
            f"{self.where}: {len(self.labels)} images, {kind}; mean {_short(mean)}, deviation {_short(std)} "
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

    def _images(self, channels: int, side: int, fit: Fit) -> LazyImages:
        return LazyImages(self.labels, self.opened, channels, side, fit)


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
