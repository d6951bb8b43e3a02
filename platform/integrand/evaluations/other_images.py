"""Images of another data set, as a model sees those of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from integrand.datamodules.acquire.lookup import locate
from integrand.datamodules.card import DataCard
from integrand.datamodules.images.base import ImageDataModule
from integrand.datamodules.registry import cards, find_card, load_class

from ..errors import UsageError
from ..spec import ImageSpec

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
    if isinstance(getattr(data, "spec", None), ImageSpec):
        return "its images are your own, and only image sets of `integrand data list` are measured so"
    return "its data set holds no images"


def usual(data: ImageDataModule) -> list[str]:
    """The other sets of a data set that are on this machine."""
    names = [name for name in USUAL.get(data.card.name, _ALWAYS) if name != data.card.name]
    return [name for name in names if locate(find_card(name)) is not None]


def check(name: str, data: ImageDataModule, resize: bool) -> DataCard:
    """The card of another set that can be told from a data set.

    Args:
        name: Its name.
        data: The data set.
        resize: Whether images of another shape are made to fit.

    Raises:
        UsageError: There is none of that name, it holds no images or the same, or images of another shape.
    """
    card = find_card(name)
    shape = data.spec.shape
    if not isinstance(card.spec, ImageSpec) or not card.counts:
        raise UsageError(f"{card.name} holds no images", f"choose from {', '.join(_fitting(shape, data))}")
    if card.name == data.card.name:
        raise UsageError(f"{name} is what the model was trained on", "choose another set")
    if card.spec.shape == shape or resize or card.name in USUAL.get(data.card.name, _ALWAYS):
        return card
    fitting = _fitting(shape, data)
    raise UsageError(
        f"images of {card.name} have shape {card.spec.shape}, those of {data.card.name} {shape}",
        f"--ood.resize true makes them fit; as they are there fit {', '.join(fitting) or 'none'}",
    )


def other_images(card: DataCard, data: ImageDataModule, n: int) -> Tensor:
    """Test images of another set in the shape and scale of a data set's inputs, shape (≤ n, C, H, W).

    Args:
        card: The other set.
        data: The data set.
        n: How many, at most.

    Raises:
        DataError: The other set is not on this machine and cannot be fetched.
    """
    other: ImageDataModule = load_class(card)(**card.options, normalise="unit", device="cpu")
    other.prepare_data()
    images, _ = other.some("test", n)
    return data.scaled(fitted(images, data.spec.shape))


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


def _fitting(shape: Sequence[int], data: ImageDataModule) -> list[str]:
    """Sets with images of a shape."""
    return [
        name
        for name, card in cards().items()
        if isinstance(card.spec, ImageSpec)
        and card.counts  # not the user's own
        and card.spec.shape == shape
        and name != data.card.name
    ]
