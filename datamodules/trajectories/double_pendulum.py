"""Two pendulums, one hung on the other."""

from __future__ import annotations

import numpy as np

from .base import SystemDataModule
from .cards import DOUBLE_PENDULUM
from .generate import Array

G = 9.8


class DoublePendulum(SystemDataModule):
    """Two unit masses on unit rods, g = 9.8; the state is both angles from the vertical and their rates.

    Chaotic except for small swings: after ten units of time two tight tolerances disagree by 3e-5. Starts
    are angles uniform in [−π/2, π/2] at rest.

    Args:
        **kwargs: See `SystemDataModule`.
    """

    card = DOUBLE_PENDULUM
    names = ("θ₁", "θ₂", "ω₁", "ω₂")
    span = 3.0

    def rhs(self, t: float, x: Array) -> Array:
        """Angular accelerations solve M(θ) θ̈ = F(θ, ω), with the mass matrix [[2, c], [c, 1]], c = cos Δ."""
        a, b, u, v = (x[..., i] for i in range(4))
        c, s = np.cos(a - b), np.sin(a - b)
        first = -(v**2) * s - 2 * G * np.sin(a)
        second = u**2 * s - G * np.sin(b)
        determinant = 2 - c**2
        return np.stack(
            [u, v, (first - c * second) / determinant, (2 * second - c * first) / determinant], axis=-1
        )

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return np.concatenate([rng.uniform(-np.pi / 2, np.pi / 2, (n, 2)), np.zeros((n, 2))], axis=-1)

    def conserved(self, x: Array) -> Array | None:
        """ω₁² + ½ω₂² + ω₁ω₂ cos(θ₁ − θ₂) − g(2 cos θ₁ + cos θ₂)."""
        a, b, u, v = (x[..., i] for i in range(4))
        kinetic = u**2 + v**2 / 2 + u * v * np.cos(a - b)
        energy: Array = kinetic - G * (2 * np.cos(a) + np.cos(b))
        return energy
