"""CIFAR-10 (Krizhevsky, 2009)."""

from __future__ import annotations

from .augment import HorizontalFlip, RandomCrop
from .base import ImageDataModule
from .cards import CIFAR10 as CIFAR10_CARD


class CIFAR10(ImageDataModule):
    """50,000 + 10,000 colour photographs in 10 classes, 32×32 pixels."""

    card = CIFAR10_CARD
    standard_augment = (RandomCrop(4), HorizontalFlip())
