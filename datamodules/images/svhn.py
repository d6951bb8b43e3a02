"""SVHN (Netzer et al. 2011)."""

from __future__ import annotations

from .augment import RandomCrop
from .base import ImageDataModule
from .further_cards import SVHN as SVHN_CARD


class SVHN(ImageDataModule):
    """73,257 + 26,032 digits of house numbers in colour, 32×32 pixels."""

    card = SVHN_CARD
    standard_augment = (RandomCrop(4),)
