"""Statistics of a few seeds: estimates with intervals, paired tests, and correction for several tests.

Pure functions on numbers; nothing here knows what a run is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.95
EXACT_PAIRS = 16  # 2^16 sign patterns
MONTE_CARLO_FLIPS = 99_999  # the p value is a multiple of 1e-5
_PATTERNS = 2**12  # sign patterns at a time
_SIGNS = 2_000_000  # drawn signs at a time


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
    def negated(self) -> Estimate:
        """The estimate of the values with the other sign; only for estimates without further intervals."""
        return replace(
            self,
            mean=-self.mean,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
            median=-self.median,
            iqm=-self.iqm,
        )

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

    @property
    def reversed(self) -> PairedDifference:
        """The differences b - a."""
        return replace(self, estimate=self.estimate.negated)


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean with the Student t interval mean ± t(1-α/2; n-1)·s/√n (Student 1908).

    Args:
        values: Finite values, at least one; their order does not matter.
        level: Coverage of the interval for normal values.

    Raises:
        ValueError: No values, or one that is not finite.
    """
    x = finite_sorted(values)
    n = x.size
    mean = math.fsum(x) / n
    median, iqm = float(np.median(x)), interquartile_mean(values)
    if n == 1:
        return Estimate(mean, None, None, 1, None, median, iqm, "no interval: one value")
    sd = float(np.std(x, ddof=1))
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n, sd, median, iqm, f"Student t, {100 * level:g} %")


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean after cutting floor(n/4) values off each end (Agarwal et al. 2021, section 4).

    Under four values nothing is cut, so it is the mean.
    """
    x = finite_sorted(values)
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
    return paired_differences([[x - y for x, y in zip(a, b, strict=True)]], seed)[0]


def paired_differences(rows: Sequence[Sequence[float]], seed: int = 0) -> list[PairedDifference]:
    """What `paired_difference` says, of many pairs of groups at once.

    Args:
        rows: Differences by pair of groups, at least one each.
        seed: Seed of the Monte Carlo test.

    Raises:
        ValueError: A row is empty or holds a value that is not finite.
    """
    return [
        PairedDifference(
            estimate(row),
            paired_t_p(row),
            p_flip,
            2.0 ** (1 - len(row)) if exact else 1 / (MONTE_CARLO_FLIPS + 1),
            exact,
        )
        for row, (p_flip, exact) in zip(rows, sign_flip_many(rows, seed), strict=True)
    ]


def paired_t_p(differences: Sequence[float]) -> float | None:
    """Two-sided p that normal differences have mean zero; None where the test says nothing."""
    d = finite_sorted(differences)
    if d.size < 2:
        return None
    mean = math.fsum(d) / d.size
    error = float(np.std(d, ddof=1)) / math.sqrt(d.size)
    # equal differences differ by rounding only; their "spread" would make any t significant
    if error <= 1e-12 * float(np.max(np.abs(d))):
        return 1.0 if abs(mean) <= 1e-12 else None
    return float(2 * special.stdtr(d.size - 1, -abs(mean) / error))


def sign_flip_p(differences: Sequence[float], seed: int = 0) -> tuple[float, bool]:
    """Two-sided sign-flip permutation test that the differences are symmetric about zero (Fisher 1935).

    The statistic is |Σd|. Every one of the 2^n sign patterns counts up to `EXACT_PAIRS` pairs, so p is never
    below 2^(1-n): 0.25 for three seeds, 0.0625 for five. Above, a seeded Monte Carlo estimate
    (k + 1)/(B + 1), which keeps the level (Phipson and Smyth 2010). Zero differences stay in; patterns that
    tie with the observed sum count as extreme, so ties can only raise p.

    Returns:
        p and whether it is exact.
    """
    return sign_flip_many([differences], seed)[0]


def sign_flip_many(rows: Sequence[Sequence[float]], seed: int = 0) -> list[tuple[float, bool]]:
    """`sign_flip_p` of many pairs of groups: those with equally many pairs share their sign patterns.

    Args:
        rows: Differences by pair of groups.
        seed: Seed of the Monte Carlo test.

    Returns:
        p and whether it is exact, in the order given.
    """
    found: dict[int, tuple[float, bool]] = {}
    ordered = [finite_sorted(row) for row in rows]
    for n in sorted({d.size for d in ordered}):
        members = [i for i, d in enumerate(ordered) if d.size == n]
        d = np.stack([ordered[i] for i in members], axis=1)
        p, exact = _flipped(d, seed)
        found |= {i: (float(value), exact) for i, value in zip(members, p, strict=True)}
    return [found[i] for i in range(len(ordered))]


def _flipped(d: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float64], bool]:
    """The p value of every column of differences `d` (pairs, columns), and whether it is exact."""
    # sums of the same numbers in another order differ by rounding; a tie must count as one
    threshold = np.abs([math.fsum(column) for column in d.T]) - 1e-9 * np.sum(np.abs(d), axis=0)
    n, columns = d.shape
    exact = n <= EXACT_PAIRS
    extreme, total = np.zeros(columns), 0
    for signs in _all_signs(n) if exact else _drawn_signs(n, seed):
        extreme += np.sum(np.abs(signs @ d) >= threshold, axis=0)
        total += len(signs)
    return (extreme / total if exact else (extreme + 1) / (total + 1)), exact


def _all_signs(n: int) -> Iterator[NDArray[np.float64]]:
    """Half of the 2^n patterns, in parts: the others are their negatives, with the same |Σ|."""
    total = 2 ** (n - 1)
    for start in range(0, total, _PATTERNS):
        patterns = (np.arange(start, min(start + _PATTERNS, total))[:, None] >> np.arange(n)) & 1
        yield (1 - 2 * patterns).astype(np.float64)


def _drawn_signs(n: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """`MONTE_CARLO_FLIPS` random patterns, in parts."""
    generator = np.random.default_rng(seed)
    for size in _chunks(MONTE_CARLO_FLIPS, max(1, _SIGNS // n)):
        yield (1 - 2 * generator.integers(0, 2, (size, n), dtype=np.int8)).astype(np.float64)


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


def finite_sorted(values: Sequence[float]) -> NDArray[np.float64]:
    """The values in ascending order, so that no result depends on the order of runs."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    if x.ndim != 1 or x.size == 0 or not np.all(np.isfinite(x)):
        raise ValueError(f"expected finite values, got {list(values)}")
    return x


def _chunks(total: int, size: int) -> list[int]:
    """`total` cut into parts of at most `size`."""
    return [min(size, total - start) for start in range(0, total, size)]
