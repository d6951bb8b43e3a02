"""Ensembles of noisy passes by the Feynman–Kac formula: EnResNet (Wang et al. 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .steps import AdditiveNoise, require


class FeynmanKac(AdditiveNoise):
    """x_{n+1} = x_n + Δ_n + c s(x_n)√h ε in training and in evaluation; logits are the mean of passes.

    s(x) is the standard deviation of the state over its own channels and pixels, one number for each image:
    the authors take one for the batch, which makes the prediction of an image depend on its batch mates. It
    is that of the state before the step, as Itô's integral asks; theirs is that of the state after it. For a
    constant σ the mean over passes estimates E[u(X_T)], the solution of u_t + f·∇u + ½σ²Δu = 0; its variance
    falls as 1/passes. The passes share their weights; the members of the authors' ensembles, En2 and En5, do
    not. One pass, the default, costs what the family costs; the experiments take 5.

    Args:
        coef: c, 0 or more.
        ensemble: Number of passes, 1 or more; each has an account of its own.

    Raises:
        UsageError: A number is outside its domain.
    """

    def __init__(self, coef: float = 0.1, ensemble: int = 1) -> None:
        super().__init__()
        self.coef = require("coef", coef, 0 <= coef < math.inf, "0 or more")
        self.ensemble = int(require("ensemble", ensemble, ensemble >= 1, "at least 1"))

    @property
    def passes(self) -> int:
        """The size of the ensemble; see `Noise.passes`."""
        return self.ensemble

    @property
    def stochastic(self) -> bool:
        """Whether there is noise."""
        return self.coef > 0

    @property
    def draws_in_evaluation(self) -> bool:
        """Always; see `Noise.draws_in_evaluation`."""
        return self.stochastic

    def addition(self, state: Tensor, like: Tensor, h: float) -> Tensor | None:
        """C s(x)√h ε; see `StepNoise.addition`."""
        if not self.coef:
            return None
        # the tiny term keeps the derivative of the root finite for a constant state
        variance = state.var(dim=tuple(range(1, state.ndim)), keepdim=True) + 1e-12
        return self.coef * math.sqrt(h) * variance.sqrt() * torch.randn_like(like)
