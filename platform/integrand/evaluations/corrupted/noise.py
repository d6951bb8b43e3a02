"""Noise of single pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from .randomness import Randomness


def gaussian_noise(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """Add σ ε."""
    return x + (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1] * drawn.normal


def shot_noise(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """N/c with N ~ Poisson(c x), by quantiles to first order in skewness (Cornish and Fisher 1938)."""
    rate = (500, 250, 100, 75, 50)[severity - 1]
    mean = rate * x
    z = drawn.normal
    counts = torch.where(mean > 0, mean + mean.sqrt() * z + (z.square() - 1) / 6, 0.0)
    return counts.round().clamp(min=0) / rate


def impulse_noise(x: Tensor, severity: int, drawn: Randomness) -> Tensor:
    """A share of the pixels black or white."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    return torch.where(drawn.uniform < share, (drawn.normal > 0).to(x), x)
