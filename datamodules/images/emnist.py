"""EMNIST (Cohen et al. 2017)."""

from __future__ import annotations

from typing import Any, Literal

from ..card import DataCard
from .augment import RandomCrop
from .base import ImageDataModule
from .further_cards import EMNIST as EMNIST_CARD

Subset = Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"]


class EMNIST(ImageDataModule):
    """Handwritten letters and digits, 28×28 pixels.

    Args:
        subset: Which of them: `balanced` (47 classes, equally many of each), `byclass` (62), `bymerge` (47),
            `letters` (26), `digits` or `mnist` (10).
        **kwargs: See `ImageDataModule`.
    """

    card = EMNIST_CARD
    standard_augment = (RandomCrop(2),)

    def __init__(self, subset: Subset = "balanced", **kwargs: Any) -> None:
        self._files = next(card for card in EMNIST_CARD.members if card.name == f"emnist-{subset}")
        super().__init__(**kwargs)
        self.subset = subset

    @property
    def files(self) -> DataCard:
        """The card of the subset."""
        return self._files

    def again(self, **options: Any) -> ImageDataModule:
        """See `ImageDataModule.again`."""
        return type(self)(subset=self.subset, **options)
