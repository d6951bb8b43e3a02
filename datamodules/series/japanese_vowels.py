"""Nine speakers told apart by how they say two vowels (Kudo, Toyama and Shimbo 1999)."""

from __future__ import annotations

from .labelled import LabelledSeriesDataModule
from .labelled_cards import JAPANESE_VOWELS


class JapaneseVowels(LabelledSeriesDataModule):
    """640 utterances of /ae/ as 7 to 29 frames of 12 coefficients each, inside this package."""

    card = JAPANESE_VOWELS
