"""Probability of improvement: how often a run of one group beats a run of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from .estimates import LEVEL

METHOD = "Newcombe 2006, method 5"
METHOD_OVER_TASKS = "mean over data sets, intervals combined (Zou and Donner 2008)"


@dataclass(frozen=True)
class Improvement:
    """P(A better than B), ties counting half.

    Args:
        probability: Estimate; 1/2 where neither tends to be better.
        low: Lower end of the 95 % interval.
        high: Upper end.
        n_a: Runs of A.
        n_b: Runs of B.
        ties: Share of the pairs of runs that are equal.
        method: How the interval was made, in words.
    """

    probability: float
    low: float
    high: float
    n_a: int
    n_b: int
    ties: float
    method: str = METHOD

    @property
    def reversed(self) -> Improvement:
        """P(B better than A)."""
        return Improvement(
            1 - self.probability, 1 - self.high, 1 - self.low, self.n_b, self.n_a, self.ties, self.method
        )


def improvement(a: Sequence[float], b: Sequence[float], larger_is_better: bool = True) -> Improvement:
    """P(A > B) + P(A = B)/2 from all pairs of runs (Agarwal et al. 2021, section 4.3; Mann and Whitney 1947).

    It is read off the ranks of all values together, in O(n log n): U = R_a - n_a (n_a + 1)/2 with midranks.
    The runs of both groups count as independent; where seeds are shared and move both groups the same way,
    the interval is wider than it had to be.

    Args:
        a: Finite values of A, at least one.
        b: Finite values of B, at least one.
        larger_is_better: Whether the better value is the larger one.

    Raises:
        ValueError: A group is empty or holds a value that is not finite.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not x.size or not y.size or not np.all(np.isfinite(x)) or not np.all(np.isfinite(y)):
        raise ValueError("expected finite values in both groups")
    both = np.concatenate([x, y]) * (1.0 if larger_is_better else -1.0)
    u = float(np.sum(rankdata(both)[: x.size])) - x.size * (x.size + 1) / 2
    pairs = x.size * y.size
    at, equal = np.unique(y, return_counts=True)
    place = np.minimum(np.searchsorted(at, x), at.size - 1)
    ties = float(np.sum(np.where(at[place] == x, equal[place], 0))) / pairs
    low, high = newcombe_interval(u / pairs, x.size, y.size)
    return Improvement(u / pairs, low, high, x.size, y.size, ties)


def newcombe_interval(theta: float, m: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of P(A > B) from its estimate by inverting a score test (Newcombe 2006, part 2, method 5).

    Its ends solve |θ - θ̂| = z √V(θ) with V(θ) = θ(1-θ)[1 + N((1-θ)/(2-θ) + θ/(1+θ))]/(mn) and
    N = (m+n)/2 - 1, the variance of Hanley and McNeil (1982) with equal sample sizes. Unlike a bootstrap it
    does not collapse to a point where every run of A beats every run of B, which few seeds often show.

    Args:
        theta: Estimate in [0, 1].
        m: Runs of A.
        n: Runs of B.
        level: Coverage.
    """
    z = float(norm.ppf((1 + level) / 2))
    extra = (m + n) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        return (t - theta) ** 2 - z * z * variance

    # between the ends the excess is negative, beyond them positive; where θ̂ is 0 or 1 it is itself a root, of
    # no interest, and the search begins beside it
    beside = 1e-9
    low = 0.0 if theta <= 0 else float(brentq(excess, 0.0, min(theta, 1 - beside), xtol=1e-12))
    high = 1.0 if theta >= 1 else float(brentq(excess, max(theta, beside), 1.0, xtol=1e-12))
    return low, high


def over_tasks(tasks: Sequence[Improvement]) -> Improvement:
    """Mean over data sets, P(A > B) = (1/M) Σ_m P(A_m > B_m) (Agarwal et al. 2021, section 4.3).

    The interval adds the distances of the data sets' own ends from their estimates in squares (Zou and Donner
    2008): l = P - (1/M)√Σ(p_m - l_m)², u likewise.

    Args:
        tasks: One per data set, at least one.
    """
    count = len(tasks)
    mean = math.fsum(t.probability for t in tasks) / count
    down = math.sqrt(math.fsum((t.probability - t.low) ** 2 for t in tasks)) / count
    up = math.sqrt(math.fsum((t.high - t.probability) ** 2 for t in tasks)) / count
    return Improvement(
        mean, mean - down, mean + up, sum(t.n_a for t in tasks), sum(t.n_b for t in tasks),
        math.fsum(t.ties for t in tasks) / count, tasks[0].method if count == 1 else METHOD_OVER_TASKS,
    )  # fmt: skip
