"""Eight Gaussians on a circle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .base import DensityDataModule
from .cards import EIGHT_GAUSSIANS
from .stream import Points

RADIUS = 4 / np.sqrt(2)
STD = 0.5 / np.sqrt(2)
_ANGLES = np.arange(8) * np.pi / 4
CENTRES = RADIUS * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


class EightGaussians(DensityDataModule):
    """Equal mixture of eight Gaussians N(c_k, σ²I), |c_k| = 4/√2, σ = ½/√2."""

    card = EIGHT_GAUSSIANS

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Points:
        """Points of the distribution; see `DensityDataModule.draw`."""
        chosen = CENTRES[rng.integers(8, size=n)]
        points: Points = chosen + STD * rng.normal(size=(n, 2))
        return points

    @staticmethod
    def exact_log_density(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Log p(x) in nats; see `DensityDataModule.exact_log_density`."""
        squares = ((x[:, None, :] - CENTRES) ** 2).sum(axis=2)
        log_p: npt.NDArray[np.float64] = np.logaddexp.reduce(-squares / (2 * STD**2), axis=1)
        log_p -= np.log(8 * 2 * np.pi * STD**2)
        return log_p
