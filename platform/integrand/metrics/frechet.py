"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, Eq. 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import SpecError


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_a Σ_b)^½) of the moments of two sets of features.

    Biased upward by about tr(Σ)(1/n + 1/m) and more in many dimensions: only values of the same n and m may
    be compared, beside what real data score against real data.

    Args:
        a: Features, shape (n, d).
        b: Features, shape (m, d).

    Raises:
        SpecError: Fewer than two features, different lengths, or a value is not finite.
    """
    a, b = checked(a, b)
    return frechet_of_moments(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))


def frechet_of_moments(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """The same from means, shape (d,), and covariances, shape (d, d)."""
    d = mean_a.numel()
    # torch.cov of a single feature has no dimensions
    cov_a, cov_b = cov_a.double().view(d, d), cov_b.double().view(d, d)
    root = _root(cov_a)
    # the eigenvalues of Σ_a Σ_b are those of the symmetric Σ_a^½ Σ_b Σ_a^½
    product = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    gap = (mean_a.double() - mean_b.double()).square().sum()
    return max(0.0, float(gap + cov_a.trace() + cov_b.trace() - 2 * product))


def checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets as float64 matrices.

    Raises:
        SpecError: Fewer than two features, different lengths, or a value is not finite.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise SpecError(
            f"cannot compare features of shapes {tuple(a.shape)} and {tuple(b.shape)}",
            "take two or more of both, of equal length",
        )
    if not (bool(torch.isfinite(a).all()) and bool(torch.isfinite(b).all())):
        raise SpecError("a feature is not finite", "look at the samples")
    return a.detach().double(), b.detach().double()


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root
