"""scikit-learn's 8×8 digits, for tests."""

from __future__ import annotations

from .base import ImageDataModule
from .cards import DIGITS


class Digits(ImageDataModule):
    """1,437 + 360 handwritten digits of 8×8 pixels, read from the installed scikit-learn; for tests."""

    card = DIGITS
