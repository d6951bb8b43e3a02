"""Densities and divergences of Gaussians, by mean and log-variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_VARIANCE = 1e-4
"""In units of a batch: without a bound the density of data without noise has none either."""


def bounded_gaussian(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of observations, each (…, channels), from what a net says, (…, 2 channels)."""
    mean, spread = raw.chunk(2, -1)
    return mean, torch.log(F.softplus(spread) + LEAST_VARIANCE)


def negative_log_density(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """−log N(x; mean, exp log_var), elementwise; NaN where x is, and no gradient there."""
    known = ~x.isnan()
    error = x.nan_to_num() - mean
    density = 0.5 * (error.square() * torch.exp(-log_var) + log_var + math.log(2 * math.pi))
    return torch.where(known, density, torch.nan)


def divergence(mean: Tensor, log_var: Tensor, other_mean: Tensor, other_log_var: Tensor) -> Tensor:
    """KL(N(mean, exp log_var) ‖ N(other_mean, exp other_log_var)), elementwise."""
    ratio = log_var - other_log_var
    moved = (mean - other_mean).square() * torch.exp(-other_log_var)
    return 0.5 * (ratio.exp() + moved - 1 - ratio)
