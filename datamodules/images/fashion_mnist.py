"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

from .augment import HorizontalFlip, RandomCrop
from .base import ImageDataModule
from .cards import FASHION_MNIST


class FashionMNIST(ImageDataModule):
    """60,000 + 10,000 grey pictures of clothes in 10 classes, 28×28 pixels."""

    card = FASHION_MNIST
    standard_augment = (RandomCrop(2), HorizontalFlip())
