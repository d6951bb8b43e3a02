"""Fidelity and diversity by nearest neighbours in feature space."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import SpecError

from .frechet import checked

_ROWS = 1000
"""Rows of a distance matrix that are held at once."""


def precision_recall(samples: Tensor, data: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, Eq. 2).

    Precision is the share of samples inside a ball around a data point that reaches to its k-th neighbour in
    the data; recall the share of data points inside such a ball around a sample.

    Args:
        samples: Features, shape (n, d).
        data: Features, shape (m, d).
        k: Which neighbour.

    Raises:
        SpecError: Not more than k features, different lengths, or a value is not finite.
    """
    samples, data = _enough(samples, data, k)
    around_data, around_samples = _radii(data, k), _radii(samples, k)
    inside = torch.zeros(len(data), dtype=torch.bool, device=data.device)
    hits = 0
    for rows, radii in zip(torch.split(samples, _ROWS), torch.split(around_samples, _ROWS), strict=True):
        distances = _distances(rows, data)
        hits += int((distances <= around_data).any(1).sum())
        inside |= (distances <= radii[:, None]).any(0)
    return hits / len(samples), float(inside.double().mean())


def density_coverage(samples: Tensor, data: Tensor, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, Eq. 4 and 5), which outliers among the data mislead less.

    Density is the mean number of data balls that a sample lies in, over k, about 1 for equal laws; coverage
    is the share of data balls that hold a sample.

    Args:
        samples: Features, shape (n, d).
        data: Features, shape (m, d).
        k: Which neighbour in the data bounds a ball.

    Raises:
        SpecError: Not more than k features, different lengths, or a value is not finite.
    """
    samples, data = _enough(samples, data, k)
    radii = _radii(data, k)
    covered = torch.zeros(len(data), dtype=torch.bool, device=data.device)
    pairs = 0
    for rows in torch.split(samples, _ROWS):
        inside = _distances(rows, data) <= radii
        pairs += int(inside.sum())
        covered |= inside.any(0)
    return pairs / (k * len(samples)), float(covered.double().mean())


def _enough(samples: Tensor, data: Tensor, k: int) -> tuple[Tensor, Tensor]:
    samples, data = checked(samples, data)
    if min(len(samples), len(data)) <= k:
        raise SpecError(
            f"{len(samples)} samples and {len(data)} data points have no {k} neighbours", "take more of both"
        )
    return samples, data


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance of each point to its k-th neighbour among the others, shape (n,)."""
    # the nearest is the point itself
    return torch.cat([_distances(rows, x).kthvalue(k + 1, dim=1).values for rows in torch.split(x, _ROWS)])


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # exact: a point must be at distance 0 of itself
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
