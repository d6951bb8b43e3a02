"""Two interleaved half circles."""

from __future__ import annotations

import numpy as np

from .base import DensityDataModule
from .cards import TWO_MOONS
from .stream import Points


class TwoMoons(DensityDataModule):
    """Upper half of the unit circle and lower half of the one around (1, ½), with noise 0.1, twice as large.

    x = 2 (c + r(t)) + (−1, −0.2) + 0.2 ε, t ~ U(0, π), ε ~ N(0, I).
    """

    card = TWO_MOONS

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Points:
        """Points of the distribution; see `DensityDataModule.draw`."""
        upper = rng.random(n) < 0.5
        t = np.pi * rng.random(n)
        x = np.where(upper, np.cos(t), 1 - np.cos(t))
        y = np.where(upper, np.sin(t), 0.5 - np.sin(t))
        clean = np.stack([x, y], axis=1)
        points: Points = 2 * (clean + 0.1 * rng.normal(size=(n, 2))) + np.array([-1.0, -0.2])
        return points
