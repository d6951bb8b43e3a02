"""Animal shapes (Mohammadi, 2025, PyPI package animal-mnist)."""

from __future__ import annotations

from .augment import HorizontalFlip, RandomCrop
from .base import ImageDataModule
from .cards import ANIMAL_SHAPES


class AnimalShapes(ImageDataModule):
    """8,000 + 2,000 silhouettes of animals, 28×28 pixels, in 10 classes."""

    card = ANIMAL_SHAPES
    standard_augment = (RandomCrop(2), HorizontalFlip())
