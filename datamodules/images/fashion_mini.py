"""The embedded default: a tenth of Fashion-MNIST."""

from __future__ import annotations

from .augment import HorizontalFlip, RandomCrop
from .base import ImageDataModule
from .cards import FASHION_MINI


class FashionMini(ImageDataModule):
    """6,000 + 1,000 real images of Fashion-MNIST inside the package: needs no network and no download.

    Mini: its figures are not comparable with published ones.
    """

    card = FASHION_MINI
    standard_augment = (RandomCrop(2), HorizontalFlip())
