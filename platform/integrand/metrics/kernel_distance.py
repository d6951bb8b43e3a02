"""Kernel distance between features (Bińkowski et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from .frechet import checked

_ROWS = 1000
"""Rows of a kernel matrix that are held at once."""


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased MMD² with the kernel (xᵀy/d + 1)³: about 0, of either sign, for equal laws.

    Features are standardised by the mean and deviation of `b` first, so that the scale of an extractor's
    features does not count. A feature that is constant in `b` is divided by the root mean square departure of
    `a` from that constant, where there is one.

    Args:
        a: Features of samples, shape (n, d).
        b: Features of data, shape (m, d).

    Raises:
        SpecError: Fewer than two features, different lengths, or a value is not finite.
    """
    a, b = checked(a, b)
    mean = b.mean(0)
    scale = _first_spread(b, a, mean)
    a, b = (a - mean) / scale, (b - mean) / scale
    n, m = len(a), len(b)
    within = (_total(a, a) - _diagonal(a)) / (n * (n - 1)) + (_total(b, b) - _diagonal(b)) / (m * (m - 1))
    return float(within - 2 * _total(a, b) / (n * m))


def _first_spread(b: Tensor, a: Tensor, mean: Tensor) -> Tensor:
    """Of each feature the deviation of `b`, else the departure of `a`, else 1; shape (d,)."""
    rounding = 1e-14 * b.abs().amax(0).clamp_min(1e-300)
    own, others = b.std(0), (a - mean).square().mean(0).sqrt()
    spread = torch.where(own > rounding, own, others)
    return torch.where(spread > rounding, spread, torch.ones_like(spread))


def _total(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the kernel over all pairs."""
    parts = [(rows @ b.T / a.shape[1] + 1).pow(3).sum() for rows in torch.split(a, _ROWS)]
    return torch.stack(parts).sum()


def _diagonal(a: Tensor) -> Tensor:
    return (a.square().sum(1) / a.shape[1] + 1).pow(3).sum()
