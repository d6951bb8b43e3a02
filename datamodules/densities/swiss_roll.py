"""A spiral with noise."""

from __future__ import annotations

import numpy as np

from .base import DensityDataModule
from .cards import SWISS_ROLL
from .stream import Points


class SwissRoll(DensityDataModule):
    """x = (t cos t, t sin t)/5 + 0.2 ε, t = 3π/2 (1 + 2u), u ~ U(0, 1), ε ~ N(0, I)."""

    card = SWISS_ROLL

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Points:
        """Points of the distribution; see `DensityDataModule.draw`."""
        t = 1.5 * np.pi * (1 + 2 * rng.random(n))
        spiral = t[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
        points: Points = (spiral + rng.normal(size=(n, 2))) / 5
        return points
