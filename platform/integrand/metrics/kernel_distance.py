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
    features does not count.

    Args:
        a: Features of samples, shape (n, d).
        b: Features of data, shape (m, d).

    Raises:
        SpecError: Fewer than two features, different lengths, or a value is not finite.
    """
    a, b = checked(a, b)
    mean, std = b.mean(0), b.std(0).clamp_min(1e-6)
    a, b = (a - mean) / std, (b - mean) / std
    n, m = len(a), len(b)
    within = (_total(a, a) - _diagonal(a)) / (n * (n - 1)) + (_total(b, b) - _diagonal(b)) / (m * (m - 1))
    return float(within - 2 * _total(a, b) / (n * m))


def _total(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the kernel over all pairs."""
    parts = [(rows @ b.T / a.shape[1] + 1).pow(3).sum() for rows in torch.split(a, _ROWS)]
    return torch.stack(parts).sum()


def _diagonal(a: Tensor) -> Tensor:
    return (a.square().sum(1) / a.shape[1] + 1).pow(3).sum()
