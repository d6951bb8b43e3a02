"""The contract of every noising process: x_t = α(t) x_0 + σ(t) ε with ε ~ N(0, I)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..errors import GridError

NO_SIGNAL = 1e-15
"""α/σ below which α counts as 0."""


class Node(NamedTuple):
    """One time with everything a sampler needs to know there, as Python floats.

    Args:
        t: Time.
        alpha: Signal coefficient α(t).
        sigma: Noise coefficient σ(t).
        log_snr: λ = log(α/σ), half the log of the signal-to-noise ratio; ∞ where σ = 0, −∞ where α = 0.
    """

    t: float
    alpha: float
    sigma: float
    log_snr: float

    @property
    def rho(self) -> float:
        """ρ = σ/α, the noise level of x/α; infinite where α = 0."""
        return self.sigma / self.alpha if self.alpha else math.inf


class Process(ABC):
    """A linear diffusion dx = f(t) x dt + g(t) dW read through its marginals.

    Time runs from 0 (data) to `t_max` (prior). All methods take times as tensors of any shape, float64 where
    precision matters, and return tensors of that shape.
    """

    variance: ClassVar[str]
    """`preserving`, `sub-preserving` or `exploding`: what becomes of unit variance."""
    t_max: float
    """Time of the prior."""
    t_min: float
    """Time nearest to the data at which a network is trained; t = 0 is the data itself."""

    @abstractmethod
    def log_alpha(self, t: Tensor) -> Tensor:
        """Log α(t)."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """σ(t): the exact standard deviation of x_t given x_0, zero at t = 0."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse of `log_snr`: t with log α(t)/σ(t) = log_snr."""

    @abstractmethod
    def drift(self, t: Tensor) -> Tensor:
        """f(t) of the drift f(t) x, the derivative of log α."""

    @abstractmethod
    def diffusion2(self, t: Tensor) -> Tensor:
        """g(t)²."""

    def path_rates(self, t: float) -> tuple[float, float] | None:
        """α̇ and σ̇ where they are finite at α = 0, unlike f and g²: dx/dt = α̇ E[x_0] + σ̇ E[ε]; else None."""
        return None

    def alpha(self, t: Tensor) -> Tensor:
        """α(t)."""
        return self.log_alpha(t).exp()

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α(t) and σ(t)."""
        log_alpha, sigma = self.log_levels(t)
        return log_alpha.exp(), sigma

    def log_levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Log α(t) and σ(t), of which one may be had on the way to the other."""
        return self.log_alpha(t), self.sigma(t)

    def log_snr(self, t: Tensor) -> Tensor:
        """λ(t) = log(α/σ), decreasing in t; half the log-SNR of VDM, the λ of DPM-Solver."""
        return self.log_alpha(t) - self.sigma(t).log()

    def label(self, t: Tensor) -> Tensor:
        """What a network is told of t: 999 t here, which suits sinusoidal embeddings made for 1000 steps."""
        return 999.0 * t

    def prior_std(self, t: float | None = None) -> float:
        """Standard deviation of the prior N(0, std²) that sampling from time t (`t_max`) begins with."""
        return self.node(self.t_max if t is None else t).sigma

    def prior_log_prob(self, x: Tensor) -> Tensor:
        """Log-density of the prior at t_max in nats, shape (batch,), for x of shape (batch, ...)."""
        std = self.prior_std()
        flat = x.flatten(1)
        constant = flat.shape[1] * (math.log(std) + 0.5 * math.log(2 * math.pi))
        return -0.5 * (flat / std).square().sum(1) - constant

    def node(self, t: float) -> Node:
        """Everything about one time."""
        return self.nodes(torch.tensor([t], dtype=torch.float64))[0]

    def node_at(self, log_snr: float) -> Node:
        """Everything about the time at which λ has the given value."""
        return self.node(float(self.time(torch.tensor(log_snr, dtype=torch.float64))))

    def nodes(self, times: Tensor) -> list[Node]:
        """Everything about each of the times, shape (n,).

        Raises:
            GridError: A time lies outside [0, t_max].
        """
        t = times.to("cpu", torch.float64)
        # the inverse of λ may miss the ends by a rounding
        slack = 1e-9 * self.t_max
        if not bool(((t >= -slack) & (t <= self.last_time + slack)).all()):
            raise GridError(
                f"times from {float(t.min()):g} to {float(t.max()):g} leave [0, {self.last_time:g}], "
                f"where {self.describe()} is defined",
                "keep t_start and t_end, or sigma_min and sigma_max, inside the process",
            )
        t = t.clamp(0.0, self.last_time)
        log_alpha, sigma = self.log_levels(t)
        log_snr = torch.where(sigma > 0, log_alpha - sigma.log(), torch.inf)
        alpha = log_alpha.exp()
        # cos(½π) is 6e-17: what is left of the signal there is rounding
        silent = alpha < NO_SIGNAL * sigma
        alpha, log_snr = alpha.masked_fill(silent, 0.0), log_snr.masked_fill(silent, -torch.inf)
        columns = (t, alpha, sigma, log_snr)
        return [Node(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    @property
    def last_time(self) -> float:
        """The largest time at which the process is defined; `t_max` unless it goes on beyond the prior."""
        return self.t_max

    @abstractmethod
    def describe(self) -> str:
        """The process in a few words, such as `vp linear 0.1-20`."""


class VariancePreserving(Process):
    """Base of the processes with α² + σ² = 1; a subclass is its α."""

    variance = "preserving"

    @abstractmethod
    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `log_alpha`."""

    def sigma(self, t: Tensor) -> Tensor:
        """√(1 − α²), accurate where α is close to 1."""
        return _complement(self.log_alpha(t))

    def log_levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Process.log_levels`; both from one log α."""
        log_alpha = self.log_alpha(t)
        return log_alpha, _complement(log_alpha)

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process.time`; α² is the sigmoid of 2λ."""
        return self.time_of_log_alpha(-0.5 * torch.nn.functional.softplus(-2 * log_snr, threshold=40))

    def diffusion2(self, t: Tensor) -> Tensor:
        """g² = −2 d log α/dt = β(t)."""
        return -2 * self.drift(t)

    def prior_std(self, t: float | None = None) -> float:
        """1: data of unit variance keep it; data of other variance are forgotten by t_max."""
        return 1.0


def _complement(log_alpha: Tensor) -> Tensor:
    """√(1 − α²) from log α."""
    return (-torch.expm1(2 * log_alpha)).clamp_min(0.0).sqrt()
