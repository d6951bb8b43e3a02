"""Two interlocking spirals (Lang & Witbrock 1988)."""

from __future__ import annotations

import numpy as np

from .base import Rows
from .cards import TWO_SPIRALS
from .toy import ToyDataModule


class TwoSpirals(ToyDataModule):
    """Two arms that turn around each other once and a half, one class each, with a little noise."""

    card = TWO_SPIRALS

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Rows:
        """See `ToyDataModule.draw`."""
        label = (rng.random(n) < 0.5).astype(np.int64)
        turn = np.sqrt(rng.random(n))
        angle = 3 * np.pi * turn + np.pi * label
        arm = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return 2 * arm + 0.03 * rng.standard_normal((n, 2)), label
