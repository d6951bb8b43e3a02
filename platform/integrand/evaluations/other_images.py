"""Images of another data set, as a model sees those of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from integrand.datamodules.acquire.lookup import locate
from integrand.datamodules.card import DataCard
from integrand.datamodules.images.base import ImageDataModule
from integrand.datamodules.own.base import OwnDataModule
from integrand.datamodules.own.guess import guess, means_path
from integrand.datamodules.registry import cards, find_card, load_class

from ..errors import UsageError
from ..spec import ImageSpec

Images = ImageDataModule | OwnDataModule
"""Data whose pixels have a black and a white; see `lacks_images`."""

USUAL: Mapping[str, Sequence[str]] = {
    "digits": ("fashion-mini",),
    "mnist": ("fashion-mini", "digits"),
    "fashion-mini": ("digits", "mnist", "animal-shapes"),
    "fashion-mnist": ("digits", "mnist", "animal-shapes"),
    "animal-shapes": ("fashion-mini", "mnist"),
    "cifar10": ("fashion-mini", "svhn", "cifar100"),
    "cifar100": ("fashion-mini", "svhn", "cifar10"),
    "svhn": ("fashion-mini", "cifar10"),
}
"""Pairs that are usual or always at hand; the others of a pair are resized, and grey ones made colour."""
_ALWAYS = ("fashion-mini",)
# weights of red, green and blue in grey (ITU-R BT.601)
_LUMA = (0.299, 0.587, 0.114)


def lacks_images(data: Any) -> str:
    """Why an evaluation of images cannot measure a data set; empty where it can."""
    if isinstance(data, ImageDataModule):
        return ""
    if isinstance(data, OwnDataModule):
        return data.lacks_pixels
    if isinstance(getattr(data, "spec", None), ImageSpec):
        return "its data module does not say which values are black and white"
    return "its data set holds no images"


@dataclass(frozen=True)
class Other:
    """Another set of images.

    Args:
        name: What it is called.
        module: Reads it, with pixels in [0, 1].
    """

    name: str
    module: Images

    def images(self, data: Images, n: int) -> Tensor:
        """Images in the shape and scale of a data set's inputs, shape (≤ n, C, H, W).

        Those of a published set are its test images, those of the user's own of any part.

        Args:
            data: The data set.
            n: How many, at most.

        Raises:
            DataError: The set is not on this machine and cannot be fetched.
        """
        self.module.prepare_data()
        parts = ("test",) if isinstance(self.module, ImageDataModule) else ("test", "val", "train")
        found: list[Tensor] = []
        for part in parts:
            if (lacking := n - sum(map(len, found))) > 0:
                found.append(self.module.some(part, lacking)[0])
        return data.scaled(fitted(torch.cat(found), data.spec.input_shape))


def usual(data: Images) -> list[str]:
    """The other sets of a data set that are on this machine."""
    names = [name for name in USUAL.get(data.card.name, _ALWAYS) if name != data.card.name]
    return [name for name in names if locate(find_card(name)) is not None]


def other(name: str, data: Images, resize: bool) -> Other:
    """Another set that can be told from a data set.

    Args:
        name: Its name, or the path of images of the user's own.
        data: The data set.
        resize: Whether images of another shape are made to fit.

    Raises:
        UsageError: There is none of that name, it holds no images or the same, or images of another shape.
    """
    try:
        card = find_card(name)
    except UsageError:
        if not means_path(name):
            raise
        return _own(name, data, resize)
    _check(card, data, resize)
    return Other(card.name, load_class(card)(**card.options, normalise="unit", device="cpu"))


def _check(card: DataCard, data: Images, resize: bool) -> None:
    shape = data.spec.input_shape
    if not isinstance(card.spec, ImageSpec) or not card.counts:
        raise UsageError(f"{card.name} holds no images", f"choose from {', '.join(_fitting(shape, data))}")
    if card.name == data.card.name:
        raise UsageError(f"{card.name} is what the model was trained on", "choose another set")
    if card.spec.shape == shape or resize or card.name in USUAL.get(data.card.name, _ALWAYS):
        return
    fitting = _fitting(shape, data)
    raise UsageError(
        f"images of {card.name} have shape {card.spec.shape}, those of {data.spec.name} {shape}",
        f"--ood.resize true makes them fit; as they are there fit {', '.join(fitting) or 'none'}",
    )


def _own(path: str, data: Images, resize: bool) -> Other:
    """Images of the user's own; pictures are decoded in the shape of the data set."""
    known = str(getattr(data, "path", ""))
    if known and Path(known).expanduser().resolve() == Path(path).expanduser().resolve():
        raise UsageError(f"{path} is what the model was trained on", "name other images")
    found = guess(path)
    kind = load_class(find_card(found.class_name))
    options = kind.pixel_options(data.spec.input_shape) if issubclass(kind, OwnDataModule) else None
    if options is None:
        raise UsageError(f"{path} holds no images", "name a folder of pictures, or arrays")
    module = kind(**{found.option: path}, **options)
    if lacking := module.lacks_pixels:
        raise UsageError(f"{path} cannot be told from {data.spec.name}: {lacking}", "name other images")
    shapes = [part.spec.input_shape for part in (module, data)]
    if shapes[0] != shapes[1] and not resize:
        raise UsageError(
            f"images of {path} have shape {shapes[0]}, those of {data.spec.name} {shapes[1]}",
            "--ood.resize true makes them fit",
        )
    return Other(module.spec.name, module)


def fitted(pixels: Tensor, shape: Sequence[int]) -> Tensor:
    """Pixels in [0, 1] in another shape: colours weighed to grey or grey made colour, then resized smoothly.

    Args:
        pixels: Shape (n, C, H, W).
        shape: Channels, height and width.
    """
    channels, *size = shape
    if pixels.shape[1] == 3 and channels == 1:
        pixels = (pixels * pixels.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    elif pixels.shape[1] != channels:
        pixels = pixels.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if list(pixels.shape[2:]) != size:
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return torch.clamp(pixels, 0, 1)


def _fitting(shape: Sequence[int], data: Images) -> list[str]:
    """Sets with images of a shape."""
    return [
        name
        for name, card in cards().items()
        if isinstance(card.spec, ImageSpec)
        and card.counts  # not the user's own
        and card.spec.shape == shape
        and name != data.card.name
    ]
