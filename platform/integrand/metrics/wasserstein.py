"""Wasserstein distances between two sets of points of equal size."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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


class SlicedW2(NamedTuple):
    """Sliced W₂ with the standard error that the draw of directions leaves."""

    value: float
    error: float


def sliced_w2(a: Tensor, b: Tensor, directions: int = 128, seed: int = 0) -> float:
    """Sliced W₂: root mean over random directions of the squared W₂ of the projections (Bonneel et al. 2015).

    Sorting solves each direction exactly. In d dimensions (θ·s)² of a shift s varies by √(2(d − 1)/(d + 2))
    of its mean from direction to direction, so that 128 of them leave 4 % of the distance in the plane and 6
    % in many
    dimensions: `sliced_w2_with_error` says how much.

    Args:
        a: Points, shape (n, …).
        b: Points, shape (n, …).
        directions: Number of directions, uniform on the sphere.
        seed: Seed of the directions.

    Raises:
        SpecError: The shapes differ, or a value is not finite.
    """
    return sliced_w2_with_error(a, b, directions, seed).value


def sliced_w2_with_error(a: Tensor, b: Tensor, directions: int = 128, seed: int = 0) -> SlicedW2:
    """`sliced_w2`, and its standard error over the draw of directions; infinite for a single direction.

    The error is that of the mean of squares carried through the root, δ = s/(2 W √L). It says nothing of the
    draw of the points.
    """
    a, b = _checked(a, b)
    generator = torch.Generator().manual_seed(seed)
    lines = torch.randn(a.shape[1], directions, generator=generator, dtype=a.dtype).to(a.device)
    lines = lines / lines.norm(dim=0)
    gap = (a @ lines).sort(dim=0).values - (b @ lines).sort(dim=0).values
    value = float(gap.square().mean().sqrt())
    if directions < 2 or not value:
        return SlicedW2(value, math.inf if directions < 2 else 0.0)
    squares = gap.square().mean(0)
    return SlicedW2(value, float(squares.std()) / (2 * value * math.sqrt(directions)))


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
