"""Five arms twisted into a pinwheel (Johnson et al. 2016)."""

from __future__ import annotations

import numpy as np

from .base import DensityDataModule
from .cards import PINWHEEL
from .stream import Points

ARMS, RADIAL, TANGENTIAL, RATE = 5, 0.3, 0.1, 0.25


class Pinwheel(DensityDataModule):
    """Arms a = (1 + 0.3 ε₁, 0.1 ε₂), each turned by its own angle and twisted by ¼ e^{a₁}, doubled."""

    card = PINWHEEL

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Points:
        """Points of the distribution; see `DensityDataModule.draw`."""
        arm = rng.integers(ARMS, size=n)
        a = rng.normal(size=(n, 2)) * np.array([RADIAL, TANGENTIAL]) + np.array([1.0, 0.0])
        angle = 2 * np.pi * arm / ARMS + RATE * np.exp(a[:, 0])
        cos, sin = np.cos(angle), np.sin(angle)
        return 2 * np.stack([cos * a[:, 0] - sin * a[:, 1], sin * a[:, 0] + cos * a[:, 1]], axis=1)
