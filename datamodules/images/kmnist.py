"""KMNIST (Clanuwat et al. 2018)."""

from __future__ import annotations

from .augment import RandomCrop
from .base import ImageDataModule
from .further_cards import KMNIST as KMNIST_CARD


class KMNIST(ImageDataModule):
    """70,000 letters of old Japanese handwriting, 28×28 pixels, in 10 classes."""

    card = KMNIST_CARD
    standard_augment = (RandomCrop(2),)
