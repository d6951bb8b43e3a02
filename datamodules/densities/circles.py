"""Two concentric circles with noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .base import DensityDataModule
from .cards import CIRCLES
from .stream import Points

RADII = (3.0, 1.5)
STD = 0.24


class Circles(DensityDataModule):
    """Circles of radius 3 and 1.5, equally likely, with Gaussian noise of deviation 0.24."""

    card = CIRCLES

    @staticmethod
    def draw(rng: np.random.Generator, n: int) -> Points:
        """Points of the distribution; see `DensityDataModule.draw`."""
        radius = np.where(rng.random(n) < 0.5, *RADII)
        angle = 2 * np.pi * rng.random(n)
        clean = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points: Points = clean + STD * rng.normal(size=(n, 2))
        return points

    @staticmethod
    def exact_log_density(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Log p(x) in nats; see `DensityDataModule.exact_log_density`.

        A Gaussian averaged over a circle of radius R: exp(−(r² + R²)/2σ²) I₀(rR/σ²) / 2πσ².
        """
        from scipy.special import i0e  # here, because every command imports every data set

        r = np.linalg.norm(x, axis=1)
        # i0e(z) = e^{−z} I₀(z), so that the exponent is −(r − R)²/2σ²
        terms = [-((r - R) ** 2) / (2 * STD**2) + np.log(i0e(r * R / STD**2)) for R in RADII]
        log_p: npt.NDArray[np.float64] = np.logaddexp(*terms) - np.log(2 * 2 * np.pi * STD**2)
        return log_p
