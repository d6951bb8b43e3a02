"""Statistics of a few seeds: estimates with intervals, paired tests, and correction for several tests.

Pure functions on numbers; nothing here knows what a run is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
EXACT_PAIRS = 16  # 2^16 sign patterns × 16 float64 = 8 MB
MONTE_CARLO_FLIPS = 99_999  # the p value is a multiple of 1e-5


@dataclass(frozen=True)
class Interval:
    """An interval of a statistic; `method` says in words how it was made."""

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Args:
        mean: Arithmetic mean.
        low: Lower end of the interval, None for n = 1, where no interval exists.
        high: Upper end of the interval, None for n = 1.
        n: Number of values.
        sd: Sample standard deviation (n - 1 in the denominator), None for n = 1.
        median: Median.
        iqm: Interquartile mean.
        method: How the interval was made, in words.
        median_interval: Of the median; None with too few values for one.
        iqm_interval: Of the interquartile mean; None likewise.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    sd: float | None
    median: float
    iqm: float
    method: str
    median_interval: Interval | None = None
    iqm_interval: Interval | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, None where there is none."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True)
class PairedDifference:
    """The differences a - b over common seeds and two tests that their centre is zero.

    Args:
        estimate: Mean difference with its Student t interval.
        p_t: Two-sided p of the paired t test; None for fewer than two pairs and where all differences are
            equal but not zero, which leaves no spread to test against.
        p_flip: Two-sided p of the sign-flip permutation test.
        p_floor: The smallest p that the sign-flip test can give with this many pairs.
        exact: Whether every sign pattern was enumerated.
    """

    estimate: Estimate
    p_t: float | None
    p_flip: float
    p_floor: float
    exact: bool


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean with the Student t interval mean ± t(1-α/2; n-1)·s/√n (Student 1908).

    Args:
        values: Finite values, at least one; their order does not matter.
        level: Coverage of the interval for normal values.

    Raises:
        ValueError: No values, or one that is not finite.
    """
    x = _sorted(values)
    n = x.size
    mean = math.fsum(x) / n
    middle = {"median": float(np.median(x)), "iqm": interquartile_mean(values)}
    if n == 1:
        return Estimate(mean, None, None, 1, None, **middle, method="no interval: one value")
    sd = float(np.std(x, ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n, sd, **middle, method=f"Student t, {100 * level:g} %")


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean after cutting floor(n/4) values off each end (Agarwal et al. 2021, section 4).

    Under four values nothing is cut, so it is the mean.
    """
    x = _sorted(values)
    cut = x.size // 4
    middle = x[cut : x.size - cut]
    return math.fsum(middle) / middle.size


def paired_difference(a: Sequence[float], b: Sequence[float], seed: int = 0) -> PairedDifference:
    """Compare a with b pair by pair; both sequences in the same order of pairs.

    Args:
        a: Values of one group.
        b: Values of the other, as many.
        seed: Seed of the Monte Carlo test, used only above `EXACT_PAIRS` pairs.

    Raises:
        ValueError: Lengths differ, no pairs, or a value that is not finite.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    p_flip, exact = sign_flip_p(differences, seed=seed)
    floor = 2.0 ** (1 - len(differences)) if exact else 1 / (MONTE_CARLO_FLIPS + 1)
    return PairedDifference(estimate(differences), paired_t_p(differences), p_flip, floor, exact)


def paired_t_p(differences: Sequence[float]) -> float | None:
    """Two-sided p that normal differences have mean zero; None where the test says nothing."""
    d = _sorted(differences)
    if d.size < 2:
        return None
    mean = math.fsum(d) / d.size
    error = float(np.std(d, ddof=1)) / math.sqrt(d.size)
    # equal differences differ by rounding only; their "spread" would make any t significant
    if error <= 1e-12 * float(np.max(np.abs(d))):
        return 1.0 if abs(mean) <= 1e-12 else None
    return float(2 * stats.t.sf(abs(mean) / error, d.size - 1))


def sign_flip_p(differences: Sequence[float], seed: int = 0) -> tuple[float, bool]:
    """Two-sided sign-flip permutation test that the differences are symmetric about zero (Fisher 1935).

    The statistic is |Σd|. Every one of the 2^n sign patterns counts up to `EXACT_PAIRS` pairs, so p is never
    below 2^(1-n): 0.25 for three seeds, 0.0625 for five. Above, a seeded Monte Carlo estimate
    (k + 1)/(B + 1), which keeps the level (Phipson and Smyth 2010). Zero differences stay in; patterns that
    tie with the observed sum count as extreme, so ties can only raise p.

    Returns:
        p and whether it is exact.
    """
    d = _sorted(differences)
    observed = abs(math.fsum(d))
    # sums of the same numbers in another order differ by rounding; a tie must count as one
    threshold = observed - 1e-9 * float(np.sum(np.abs(d)))
    if d.size <= EXACT_PAIRS:
        patterns = (np.arange(2**d.size)[:, None] >> np.arange(d.size)) & 1
        sums = np.abs((1 - 2 * patterns) @ d)
        return float(np.mean(sums >= threshold)), True
    generator = np.random.default_rng(seed)
    extreme = 0
    for size in _chunks(MONTE_CARLO_FLIPS, 10_000):
        signs = generator.choice(np.array([-1.0, 1.0]), size=(size, d.size))
        extreme += int(np.sum(np.abs(signs @ d) >= threshold))
    return (extreme + 1) / (MONTE_CARLO_FLIPS + 1), False


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): p̃(i) = max over j ≤ i of min(1, (m - j + 1)·p(j)).

    Returns:
        Adjusted p values in the order given; comparing them with α controls the chance of any false
        finding among the m tests at α, whatever their dependence.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _sorted(values: Sequence[float]) -> NDArray[np.float64]:
    """The values in ascending order, so that no result depends on the order of runs."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    if x.ndim != 1 or x.size == 0 or not np.all(np.isfinite(x)):
        raise ValueError(f"expected finite values, got {list(values)}")
    return x


def _chunks(total: int, size: int) -> list[int]:
    """`total` cut into parts of at most `size`."""
    return [min(size, total - start) for start in range(0, total, size)]
