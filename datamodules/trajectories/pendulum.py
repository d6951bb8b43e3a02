"""A pendulum: free, damped or driven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from integrand.spec import SeriesSpec

from .base import SystemDataModule
from .cards import PENDULUM
from .generate import Array


class Pendulum(SystemDataModule):
    """q' = p, p' = −(g/l) sin q − damping · p + amplitude · cos(frequency · t), for mass and length 1.

    Starts are uniform in angle up to `swing` and at rest, up to a small push.

    Args:
        stiffness: g/l in 1/t², positive.
        damping: Damping in 1/t, 0 or more.
        amplitude: Amplitude of the drive; 0 for none.
        frequency: Angular frequency of the drive.
        swing: Largest angle of a start in radians.
        **kwargs: See `SystemDataModule`.
    """

    card = PENDULUM
    names = ("q", "p")
    span = 10.0

    def __init__(
        self,
        stiffness: float = 1.0,
        damping: float = 0.0,
        amplitude: float = 0.0,
        frequency: float = 0.7,
        swing: float = 2.0,
        **kwargs: Any,
    ) -> None:
        self.stiffness, self.damping, self.amplitude = stiffness, damping, amplitude
        self.frequency, self.swing = frequency, swing
        super().__init__(**kwargs)

    @property
    def published(self) -> SeriesSpec:
        """Driven, the time matters."""
        return replace(super().published, autonomous=self.amplitude == 0)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        q, p = x[..., 0], x[..., 1]
        force = -self.stiffness * np.sin(q) - self.damping * p + self.amplitude * np.cos(self.frequency * t)
        return np.stack([p, force], axis=-1)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return np.stack([rng.uniform(-self.swing, self.swing, n), rng.uniform(-0.5, 0.5, n)], axis=-1)

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        keys = ("stiffness", "damping", "amplitude", "frequency", "swing")
        return {key: getattr(self, key) for key in keys}

    def conserved(self, x: Array) -> Array | None:
        """½p² + (g/l)(1 − cos q), where nothing damps or drives it."""
        if self.damping or self.amplitude:
            return None
        energy: Array = x[..., 1] ** 2 / 2 + self.stiffness * (1 - np.cos(x[..., 0]))
        return energy
