"""Entropic optimal transport between two sets of points of equal weights."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

LARGEST_EXPONENT = 500.0
"""exp(−500) ≈ 1e-217: a sum of such kernels, and its inverse, are still far from the ends of float64."""

BETWEEN = 10
"""Iterations between two times at which the potentials take up the scalings, and the error is looked at."""


def sinkhorn(cost: Tensor, regularisation: float, tolerance: float = 1e-3, iterations: int = 5000) -> Tensor:
    """The plan that minimises ⟨P, C⟩ − reg · H(P) with uniform marginals (Cuturi 2013).

    The regularisation is halved down to its value from where no kernel underflows, and the kernel is rebuilt
    from the potentials every few iterations, so that it may be as small as one likes (Schmitzer 2019, Alg.
    2).

    Args:
        cost: C, shape (n, m), float64.
        regularisation: reg, positive.
        tolerance: Largest sum of the columns' departures from 1/m.
        iterations: Most iterations at the regularisation itself.

    Returns:
        P, shape (n, m); its rows sum to 1/n.

    Warns:
        RuntimeWarning: The columns have not converged; says how far they are from uniform.
    """
    n, m = cost.shape
    f, g = cost.new_zeros(n), cost.new_zeros(m)
    epsilon = max(regularisation, float(cost.max()) / LARGEST_EXPONENT)
    while True:
        last = epsilon == regularisation
        f, g, plan, error = _scaled(cost, epsilon, f, g, tolerance, iterations if last else BETWEEN)
        if last:
            break
        epsilon = max(regularisation, epsilon / 2)
    if error > tolerance:
        warnings.warn(
            f"the entropic transport at regularisation {regularisation:g} has not converged in {iterations} "
            f"iterations: its columns are {error:.1e} from uniform in sum; take a larger sigma",
            RuntimeWarning,
            stacklevel=2,
        )
    return plan


def _scaled(
    cost: Tensor, epsilon: float, f: Tensor, g: Tensor, tolerance: float, iterations: int
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Potentials, plan and error after iterations at one regularisation."""
    n, m = cost.shape
    error = math.inf
    for _ in range(0, iterations, BETWEEN):
        g = g - epsilon * (((f[:, None] + g - cost) / epsilon).logsumexp(0) + math.log(m))
        f = f - epsilon * (((f[:, None] + g - cost) / epsilon).logsumexp(1) + math.log(n))
        kernel = ((f[:, None] + g - cost) / epsilon).exp()
        error = float((kernel.sum(0) - 1 / m).abs().sum())
        if error <= tolerance:
            break
        u = torch.ones_like(f)
        for _ in range(BETWEEN - 1):
            v = 1 / (m * (kernel.T @ u))
            u = 1 / (n * (kernel @ v))
        f, g = f + epsilon * u.log(), g + epsilon * v.log()
    return f, g, ((f[:, None] + g - cost) / epsilon).exp(), error
