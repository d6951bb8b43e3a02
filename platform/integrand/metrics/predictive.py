"""Scores of predictive distributions of numbers, from draws or as Gaussians; NaN truths are skipped."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SHARES = (0.5, 0.8, 0.9, 0.95)
"""Shares of central intervals whose coverage is looked at."""


def crps_of_draws(draws: Tensor, truth: Tensor) -> float:
    """Continuous ranked probability score: mean |x − y| − ½ mean |x − x′|, the latter over m(m − 1) pairs.

    Divided by m² instead it would be biased upward for few draws (Ferro 2014), so that more draws of
    the same distribution would score better.

    Args:
        draws: Shape (draws, …), 2 or more draws.
        truth: Shape (…), NaN where nothing was observed.
    """
    known = ~truth.isnan()
    x, y = draws.double()[:, known], truth.double()[known]
    m = len(x)
    error = (x - y).abs().mean()
    # sorted, the sum over pairs of |x_i − x_j| is Σ_i (2i − m + 1) x_(i), i from 0
    weights = 2 * torch.arange(m, dtype=torch.float64, device=x.device) - m + 1
    spread = (weights[:, None] * x.sort(0).values).sum(0).mean() * 2 / (m * (m - 1))
    return float(error - spread / 2)


def crps_of_gaussian(mean: Tensor, std: Tensor, truth: Tensor) -> float:
    """Continuous ranked probability score of N(mean, std²) (Gneiting and Raftery 2007, equation 21).

    Args:
        mean: Shape (…).
        std: Positive, broadcasts against it.
        truth: Shape (…), NaN where nothing was observed.
    """
    std = std.double().expand_as(truth)
    z = (truth.double() - mean.double()) / std
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    score = std * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    return float(score[~truth.isnan()].mean())


def nll_of_gaussian(mean: Tensor, std: Tensor, truth: Tensor) -> float:
    """Mean of −log N(truth; mean, std²), in nats; arguments as in `crps_of_gaussian`."""
    std = std.double().expand_as(truth)
    z = (truth.double() - mean.double()) / std
    loss = z.square() / 2 + std.log() + math.log(2 * math.pi) / 2
    return float(loss[~truth.isnan()].mean())


def coverage_of_draws(draws: Tensor, truth: Tensor, shares: Sequence[float] = SHARES) -> dict[float, float]:
    """Share of truths inside the central interval of the draws, by the share that it should hold.

    Args:
        draws: Shape (draws, …).
        truth: Shape (…), NaN where nothing was observed.
        shares: Shares in (0, 1).
    """
    known = ~truth.isnan()
    x, y = draws.double()[:, known], truth.double()[known]
    found = {}
    for share in shares:
        low, high = x.quantile((1 - share) / 2, dim=0), x.quantile((1 + share) / 2, dim=0)
        found[share] = float(((y >= low) & (y <= high)).double().mean())
    return found


def coverage_of_gaussian(
    mean: Tensor, std: Tensor, truth: Tensor, shares: Sequence[float] = SHARES
) -> dict[float, float]:
    """Share of truths inside the central interval of N(mean, std²); see `coverage_of_draws`."""
    z = ((truth - mean).double().abs() / std.double())[~truth.isnan()]
    return {share: float((torch.erf(z / math.sqrt(2)) <= share).double().mean()) for share in shares}


def sharpness(std: Tensor) -> float:
    """Root of the mean variance of the predictions, in their unit (Tran et al. 2020)."""
    return float(std.double().square().mean().sqrt())
