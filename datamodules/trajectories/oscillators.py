"""Nonlinear oscillators: with a limit cycle, with two wells, and excitable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from integrand.spec import SeriesSpec

from .base import SystemDataModule
from .cards import DUFFING, FITZHUGH_NAGUMO, VAN_DER_POL
from .generate import Array


class VanDerPol(SystemDataModule):
    """x' = y, y' = μ(1 − x²)y − x (van der Pol 1926); starts uniform in [−2, 2]².

    Args:
        mu: μ, 0 or more.
        **kwargs: See `SystemDataModule`.
    """

    card = VAN_DER_POL
    names = ("x", "y")
    span = 10.0

    def __init__(self, mu: float = 1.0, **kwargs: Any) -> None:
        self.mu = mu
        super().__init__(**kwargs)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        q, p = x[..., 0], x[..., 1]
        return np.stack([p, self.mu * (1 - q**2) * p - q], axis=-1)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return rng.uniform(-2.0, 2.0, (n, 2))

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"mu": self.mu}


class Duffing(SystemDataModule):
    """x' = y, y' = x − x³ − damping · y + amplitude · cos(frequency · t) (Duffing 1918): two wells.

    Starts are uniform in [−1.5, 1.5]². Without damping and drive ½y² − ½x² + ¼x⁴ is conserved; with damping
    0.3, amplitude 0.5 and frequency 1.2 the motion is chaotic (Guckenheimer & Holmes 1983, section 2.2).

    Args:
        damping: 0 or more.
        amplitude: Amplitude of the drive; 0 for none.
        frequency: Angular frequency of the drive.
        **kwargs: See `SystemDataModule`.
    """

    card = DUFFING
    names = ("x", "y")
    span = 10.0

    def __init__(
        self, damping: float = 0.0, amplitude: float = 0.0, frequency: float = 1.2, **kwargs: Any
    ) -> None:
        self.damping, self.amplitude, self.frequency = damping, amplitude, frequency
        super().__init__(**kwargs)

    @property
    def published(self) -> SeriesSpec:
        """Driven, the time matters."""
        return replace(super().published, autonomous=self.amplitude == 0)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        q, p = x[..., 0], x[..., 1]
        force = q - q**3 - self.damping * p + self.amplitude * np.cos(self.frequency * t)
        return np.stack([p, force], axis=-1)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return rng.uniform(-1.5, 1.5, (n, 2))

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"damping": self.damping, "amplitude": self.amplitude, "frequency": self.frequency}

    def conserved(self, x: Array) -> Array | None:
        """½y² − ½x² + ¼x⁴, where nothing damps or drives it."""
        if self.damping or self.amplitude:
            return None
        q, p = x[..., 0], x[..., 1]
        energy: Array = p**2 / 2 - q**2 / 2 + q**4 / 4
        return energy


class FitzHughNagumo(SystemDataModule):
    """v' = v − v³/3 − w + I, w' = ε(v + a − bw): an excitable cell (FitzHugh 1961, Nagumo et al. 1962).

    Starts are uniform in [−2, 2] × [−1, 2].

    Args:
        current: I.
        epsilon: ε, positive: how slowly w follows.
        a: a.
        b: b.
        **kwargs: See `SystemDataModule`.
    """

    card = FITZHUGH_NAGUMO
    names = ("v", "w")
    span = 50.0

    def __init__(
        self, current: float = 0.5, epsilon: float = 0.08, a: float = 0.7, b: float = 0.8, **kwargs: Any
    ) -> None:
        self.current, self.epsilon, self.a, self.b = current, epsilon, a, b
        super().__init__(**kwargs)

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        v, w = x[..., 0], x[..., 1]
        return np.stack([v - v**3 / 3 - w + self.current, self.epsilon * (v + self.a - self.b * w)], axis=-1)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return np.stack([rng.uniform(-2, 2, n), rng.uniform(-1, 2, n)], axis=-1)

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"current": self.current, "epsilon": self.epsilon, "a": self.a, "b": self.b}
