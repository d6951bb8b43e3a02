"""Prey and predators."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import SystemDataModule
from .cards import LOTKA_VOLTERRA
from .generate import Array


class LotkaVolterra(SystemDataModule):
    """x' = αx − βxy, y' = δxy − γy: prey x and predators y (Lotka 1925, Volterra 1926).

    Starts are uniform in [0.5, 2]².

    Args:
        alpha: Growth of the prey.
        beta: Loss of prey to each predator.
        gamma: Death of the predators.
        delta: Growth of the predators by each prey.
        **kwargs: See `SystemDataModule`.
    """

    card = LOTKA_VOLTERRA
    names = ("prey", "predators")
    span = 10.0

    def __init__(
        self, alpha: float = 1.3, beta: float = 0.9, gamma: float = 0.8, delta: float = 1.8, **kwargs: Any
    ) -> None:
        self.alpha, self.beta, self.gamma, self.delta = alpha, beta, gamma, delta
        super().__init__(**kwargs)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        prey, predators = x[..., 0], x[..., 1]
        met = prey * predators
        return np.stack(
            [self.alpha * prey - self.beta * met, self.delta * met - self.gamma * predators], axis=-1
        )

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return rng.uniform(0.5, 2.0, (n, 2))

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"alpha": self.alpha, "beta": self.beta, "gamma": self.gamma, "delta": self.delta}

    def conserved(self, x: Array) -> Array | None:
        """δx − γ ln x + βy − α ln y; states that no population can have give NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            prey = self.delta * x[..., 0] - self.gamma * np.log(x[..., 0])
            value: Array = prey + self.beta * x[..., 1] - self.alpha * np.log(x[..., 1])
        return value
