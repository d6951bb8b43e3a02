"""Wasserstein distances between two sets of points of equal size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from integrand.errors import SpecError, UsageError


def exact_w2(a: Tensor, b: Tensor) -> float:
    """W₂ between two empirical distributions of equal size: the root of the mean squared distance at best.

    Solved by POT's network simplex; memory n², time about n² log n (0.1 s for 1,000 points, 0.5 s for 2,000).

    Args:
        a: Points, shape (n, …).
        b: Points, shape (n, …).

    Raises:
        SpecError: The shapes differ, or a value is not finite.
        UsageError: POT is not installed.
    """
    ot = require_pot()
    a, b = _checked(a, b)
    cost = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square().cpu().numpy()
    return math.sqrt(float(ot.emd2([], [], cost, numItermax=10_000_000)))


def sliced_w2(a: Tensor, b: Tensor, directions: int = 128, seed: int = 0) -> float:
    """Sliced W₂: root mean over random directions of the squared W₂ of the projections (Bonneel et al. 2015).

    Sorting solves each direction exactly.

    Args:
        a: Points, shape (n, …).
        b: Points, shape (n, …).
        directions: Number of directions, uniform on the sphere.
        seed: Seed of the directions.

    Raises:
        SpecError: The shapes differ, or a value is not finite.
    """
    a, b = _checked(a, b)
    generator = torch.Generator().manual_seed(seed)
    lines = torch.randn(a.shape[1], directions, generator=generator, dtype=a.dtype).to(a.device)
    lines = lines / lines.norm(dim=0)
    gap = (a @ lines).sort(dim=0).values - (b @ lines).sort(dim=0).values
    return float(gap.square().mean().sqrt())


def require_pot() -> Any:
    """POT's module.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import ot
    except ImportError as error:
        raise UsageError("optimal transport needs POT", "pip install 'integrand[ot]'") from error
    return ot


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets as float64 matrices."""
    if a.shape != b.shape or a.ndim < 2 or not len(a):
        raise SpecError(
            f"cannot compare points of shapes {tuple(a.shape)} and {tuple(b.shape)}", "take as many of both"
        )
    for x in (a, b):
        if not bool(torch.isfinite(x).all()):
            raise SpecError("a point to compare is not finite", "look at the sampler's solve")
    return a.detach().double().flatten(1), b.detach().double().flatten(1)
