"""MNIST (LeCun et al., 1998)."""

from __future__ import annotations

from .augment import RandomCrop
from .base import ImageDataModule
from .cards import MNIST as MNIST_CARD


class MNIST(ImageDataModule):
    """60,000 + 10,000 handwritten digits, 28×28 pixels."""

    card = MNIST_CARD
    standard_augment = (RandomCrop(2),)
