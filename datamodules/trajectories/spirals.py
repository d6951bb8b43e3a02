"""Spirals in the plane: the first experiment of the neural ODE's authors."""

from __future__ import annotations

import numpy as np

from .base import SystemDataModule
from .cards import CUBIC_SPIRAL, LINEAR_SPIRAL
from .generate import Array

A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
"""Decay at rate 0.1 and a turn in π units of time, where the state enters linearly."""


class _Spiral(SystemDataModule):
    """Base of both: starts uniform in angle, with radius from 1 to 2."""

    names = ("x", "y")

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        radius, angle = rng.uniform(1.0, 2.0, n), rng.uniform(0, 2 * np.pi, n)
        x: Array = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return x


class LinearSpiral(_Spiral):
    """x' = Ax with A = [[−0.1, 2], [−2, −0.1]]: x(t) = e^{−0.1t} R(2t) x(0)."""

    card = LINEAR_SPIRAL

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        rates: Array = x @ A.T
        return rates


class CubicSpiral(_Spiral):
    """x' = A x³, componentwise cube (Chen et al. 2018, the demonstration that comes with their code)."""

    card = CUBIC_SPIRAL

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        rates: Array = x**3 @ A.T
        return rates
