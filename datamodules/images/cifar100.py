"""CIFAR-100 (Krizhevsky, 2009)."""

from __future__ import annotations

from .augment import HorizontalFlip, RandomCrop
from .base import ImageDataModule
from .cards import CIFAR100 as CIFAR100_CARD


class CIFAR100(ImageDataModule):
    """50,000 + 10,000 colour photographs in 100 classes, 32×32 pixels."""

    card = CIFAR100_CARD
    standard_augment = (RandomCrop(4), HorizontalFlip())
