"""Stochastic processes whose law is known: paths are drawn from it exactly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from integrand.errors import UsageError
from integrand.spec import Density, SeriesSpec

from ..series.base import SeriesDataModule
from ..series.padded import SeriesSet
from ..series.recording import Recording
from .base import SystemDataModule
from .cards import GEOMETRIC_BROWNIAN_MOTION, ORNSTEIN_UHLENBECK
from .generate import Array

Ask = Literal["density", "forecast"]


class DiffusionDataModule(SystemDataModule):
    """Paths of a scalar stochastic process, of which the distribution or the continuation is asked for.

    Args:
        ask: `density`: which paths there are; `forecast`: how a path goes on.
        trajectories: Paths of the training split.
        val_trajectories: Those of the validation split.
        test_trajectories: Those of the test split.
        points: Observations of a path.
        eval_duration: Length of a path of evaluation; that of training where None.
        **kwargs: See `SystemDataModule`.

    Raises:
        UsageError: A number is out of its domain.
    """

    names = ("x",)

    def __init__(
        self,
        ask: Ask = "density",
        trajectories: int = 1024,
        val_trajectories: int = 256,
        test_trajectories: int = 1024,
        points: int = 33,
        eval_duration: float | None = None,
        **kwargs: Any,
    ) -> None:
        if ask not in ("density", "forecast"):
            raise UsageError(f"unknown ask {ask!r}", "set data.ask to density or forecast")
        self.ask = ask
        super().__init__(
            trajectories=trajectories,
            val_trajectories=val_trajectories,
            test_trajectories=test_trajectories,
            points=points,
            **kwargs,
        )
        self.eval_duration = self.duration if eval_duration is None else eval_duration

    @property
    def spec(self) -> SeriesSpec:
        """What a model takes from the data."""
        if self.ask == "forecast":
            return super().spec
        spec: SeriesSpec = SeriesDataModule.spec.fget(self)  # type: ignore[attr-defined]
        return replace(spec, question=Density(), length=self.points)

    def make_split(self, split: str, recordings: Sequence[Recording]) -> SeriesSet:
        """Whole paths, or windows of them."""
        if self.ask == "forecast":
            return super().make_split(split, recordings)
        return SeriesDataModule.make_split(self, split, recordings)

    def rhs(self, t: float, x: Array) -> Array:
        """The drift."""
        return self.drift(x)

    def solve(self, starts: Array, times: Array) -> Array:
        """One path from each start, exact at `times`."""
        rng = np.random.Generator(np.random.PCG64([len(starts), self.data_seed, 19300901]))
        x, seen = starts, [starts]
        for gap in np.diff(times):
            x = self.step(x, float(gap), rng)
            seen.append(x)
        return np.stack(seen, axis=1)

    @abstractmethod
    def drift(self, x: Array) -> Array:
        """The drift at states (n, 1)."""

    @abstractmethod
    def step(self, x: Array, gap: float, rng: np.random.Generator) -> Array:
        """A draw from the law of the state a gap later, given the states (n, 1)."""


class OrnsteinUhlenbeck(DiffusionDataModule):
    """dX = θ(μ − X) dt + σ dW (Uhlenbeck & Ornstein 1930).

    X(t) given X(0) is normal with mean μ + (X(0) − μ)e^{−θt} and variance σ²(1 − e^{−2θt})/(2θ). Starts are
    normal around `start_mean`.

    Args:
        theta: θ, positive.
        mu: μ.
        sigma: σ, positive.
        start_mean: Mean of the starts.
        start_std: Their standard deviation, 0 or more.
        **kwargs: See `DiffusionDataModule`.
    """

    card = ORNSTEIN_UHLENBECK
    span = 2.0

    def __init__(
        self,
        theta: float = 1.0,
        mu: float = 0.0,
        sigma: float = 0.5,
        start_mean: float = 1.0,
        start_std: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if not (theta > 0 and sigma > 0 and start_std >= 0):
            raise UsageError(f"theta={theta}, sigma={sigma}, start_std={start_std}", "give positive numbers")
        self.theta, self.mu, self.sigma = theta, mu, sigma
        self.start_mean, self.start_std = start_mean, start_std
        super().__init__(**kwargs)

    def drift(self, x: Array) -> Array:
        """See `DiffusionDataModule.drift`."""
        return self.theta * (self.mu - x)

    def step(self, x: Array, gap: float, rng: np.random.Generator) -> Array:
        """See `DiffusionDataModule.step`."""
        keep = np.exp(-self.theta * gap)
        spread = self.sigma * np.sqrt((1 - keep**2) / (2 * self.theta))
        moved: Array = self.mu + (x - self.mu) * keep + spread * rng.standard_normal(x.shape)
        return moved

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return self.start_mean + self.start_std * rng.standard_normal((n, 1))

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {k: getattr(self, k) for k in ("theta", "mu", "sigma", "start_mean", "start_std")}


class GeometricBrownianMotion(DiffusionDataModule):
    """dX = μX dt + σX dW: X(t) = X(0) exp((μ − σ²/2)t + σW(t)) (Black & Scholes 1973, eq. 1).

    Args:
        mu: μ.
        sigma: σ, positive.
        start_value: X(0), positive.
        **kwargs: See `DiffusionDataModule`.
    """

    card = GEOMETRIC_BROWNIAN_MOTION
    span = 1.0

    def __init__(self, mu: float = 0.5, sigma: float = 0.3, start_value: float = 1.0, **kwargs: Any) -> None:
        if not (sigma > 0 and start_value > 0):
            raise UsageError(f"sigma={sigma}, start_value={start_value}", "give positive numbers")
        self.mu, self.sigma, self.start_value = mu, sigma, start_value
        super().__init__(**kwargs)

    def drift(self, x: Array) -> Array:
        """See `DiffusionDataModule.drift`."""
        return self.mu * x

    def step(self, x: Array, gap: float, rng: np.random.Generator) -> Array:
        """See `DiffusionDataModule.step`."""
        growth = (self.mu - self.sigma**2 / 2) * gap
        moved: Array = x * np.exp(growth + self.sigma * np.sqrt(gap) * rng.standard_normal(x.shape))
        return moved

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        return np.full((n, 1), self.start_value)

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"mu": self.mu, "sigma": self.sigma, "start_value": self.start_value}
