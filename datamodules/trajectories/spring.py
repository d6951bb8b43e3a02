"""A mass on a spring."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import SystemDataModule
from .cards import SPRING
from .generate import Array


class Spring(SystemDataModule):
    """q' = 2p, p' = −2q: H = p² + q², the harmonic oscillator of Greydanus et al. (2019), section 3.

    Starts lie on circles of radius uniform in [0.1, 1], at any angle.

    Args:
        **kwargs: See `SystemDataModule`.
    """

    card = SPRING
    names = ("q", "p")
    span = 3.0

    def __init__(self, points: int = 30, **kwargs: Any) -> None:
        super().__init__(points=points, **kwargs)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        return np.stack([2 * x[..., 1], -2 * x[..., 0]], axis=-1)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        radius, angle = rng.uniform(0.1, 1.0, n), rng.uniform(0, 2 * np.pi, n)
        x: Array = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return x

    def conserved(self, x: Array) -> Array | None:
        """p² + q²."""
        energy: Array = (x**2).sum(axis=-1)
        return energy
