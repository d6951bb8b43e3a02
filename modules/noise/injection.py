"""Noise injected into the state."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .steps import AdditiveNoise, require


class GaussianInjection(AdditiveNoise):
    """x_{n+1} = x_n + Δ_n + σ√h ε, ε ~ N(0, I): the Euler–Maruyama scheme of dX = f dt + σ dW.

    With h = 1 it is the σε of the literature; the factor √h keeps the variance σ²T at time T = N h whatever
    the number of steps. Evaluation is the family without noise.

    Args:
        sigma: σ, 0 or more.

    Raises:
        UsageError: sigma is negative.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        self.sigma = require("sigma", sigma, 0 <= sigma < math.inf, "0 or more")

    @property
    def stochastic(self) -> bool:
        """Whether there is noise."""
        return self.sigma > 0

    def addition(self, state: Tensor, like: Tensor, h: float) -> Tensor | None:
        """σ√h ε; see `StepNoise.addition`."""
        if not self.training or not self.sigma:
            return None
        return torch.randn_like(like).mul_(self.sigma * math.sqrt(h))


class UniformInjection(AdditiveNoise):
    """x_{n+1} = x_n + Δ_n + √h u, u ~ U(−ε, ε), of variance ε²/3.

    The mean is zero; the authors of LM-ResNet inject U(0, ε), whose mean ε/2 is a drift that evaluation,
    without noise, does not have.

    Args:
        eps: ε, 0 or more.

    Raises:
        UsageError: eps is negative.
    """

    def __init__(self, eps: float = 0.1) -> None:
        super().__init__()
        self.eps = require("eps", eps, 0 <= eps < math.inf, "0 or more")

    @property
    def stochastic(self) -> bool:
        """Whether there is noise."""
        return self.eps > 0

    def addition(self, state: Tensor, like: Tensor, h: float) -> Tensor | None:
        """√h u; see `StepNoise.addition`."""
        if not self.training or not self.eps:
            return None
        return torch.rand_like(like).mul_(2).sub_(1).mul_(self.eps * math.sqrt(h))
