"""Uniform on the dark squares of a 4 × 4 board."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .base import DensityDataModule
from .cards import CHECKERBOARD
from .stream import Points


class Checkerboard(DensityDataModule):
    """Uniform on the eight squares of side 2 in [−4, 4]² whose column and row have an even sum: p = 1/32."""

    card = CHECKERBOARD

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Points:
        """Points of the distribution; see `DensityDataModule.draw`."""
        column = rng.integers(4, size=n)
        row = 2 * rng.integers(2, size=n) + column % 2
        return 2 * (np.stack([column, row], axis=1) + rng.random((n, 2))) - 4

    @staticmethod
    def exact_log_density(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Log p(x) in nats, −∞ outside; see `DensityDataModule.exact_log_density`."""
        square = np.floor((x + 4) / 2)
        inside = (np.abs(x) < 4).all(axis=1) & (square.sum(axis=1) % 2 == 0)
        return np.where(inside, -np.log(32.0), -np.inf)
