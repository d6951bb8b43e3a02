"""Intervals of a group's mean, median and interquartile mean: Student's t or a stratified bootstrap.

Which of the two is decided by the number of runs alone, and every interval names its method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .estimates import LEVEL, Estimate, Interval, estimate, finite_sorted

BOOTSTRAP_FROM = 10
"""Runs from which on the mean's interval is a bootstrap's.

Below, few distinct resamples exist (126 for five runs) and the interval of normal values covers too seldom,
92 % for five runs; from ten on it covers as often as Student's t for normal values, 95 %, and more often for
skewed ones. `tests/comparison/test_bootstrap.py` simulates both.
"""
STRATUM_FROM = 3
"""Runs that every stratum needs for a bootstrap over several: of two values there are three resamples."""
RESAMPLES = 10_000
MAX_DRAWS = 2_000_000
"""Drawn values per group at most; beyond 200 runs the number of resamples falls, to 2,000 at the least."""
MIN_RESAMPLES = 2_000
_CHUNK = 500_000

Replicates = dict[str, NDArray[np.float64]]


def estimate_quality(values: Sequence[float], level: float = LEVEL, seed: int = 0) -> Estimate:
    """Mean, median and interquartile mean of a group of runs, with intervals as far as there are any.

    Args:
        values: Finite values, at least one; their order does not matter.
        level: Coverage.
        seed: Seed of the resampling.

    Raises:
        ValueError: No values, or one that is not finite.
    """
    plain = estimate(values, level)
    if plain.n < BOOTSTRAP_FROM:
        return plain
    return estimate_strata([values], level, seed)


def estimate_strata(strata: Sequence[Sequence[float]], level: float = LEVEL, seed: int = 0) -> Estimate:
    """Statistics averaged over strata of equal weight, such as data sets.

    With at least `BOOTSTRAP_FROM` runs in all and `STRATUM_FROM` in each stratum the intervals are those of a
    stratified bootstrap (Agarwal et al. 2021, section 4.1): runs are drawn with replacement within each
    stratum. Its percentiles are expanded (Hesterberg 2015, section 5.3): the quantile α/2 becomes
    Φ(-√(n/(n-1))·t(1-α/2; ν)) with n of the smallest stratum, since resamples of n values vary by the factor
    √((n-1)/n) too little, a fifth for three runs, and ν of Welch and Satterthwaite, since one data set may
    scatter far more than the others. With fewer runs the mean has Welch's t
    interval, median and interquartile mean have none.

    Args:
        strata: Finite values by stratum, at least one each; their order within a stratum does not matter.
        level: Coverage.
        seed: Seed of the resampling.

    Returns:
        n is the number of runs, sd their spread within the strata (pooled).

    Raises:
        ValueError: No stratum, an empty one, or a value that is not finite.
    """
    rows = [finite_sorted(s) for s in strata]
    sizes = [row.size for row in rows]
    count, least = sum(sizes), min(sizes)
    each = [estimate(list(row), level) for row in rows]
    if len(rows) == 1 and count < BOOTSTRAP_FROM:
        return each[0]
    mean, median, iqm = (_average(each, name) for name in ("mean", "median", "iqm"))
    sd = _within(each)
    if count < BOOTSTRAP_FROM or least < STRATUM_FROM:
        welch = _welch(each, mean, level)
        if welch is None:
            method = "no interval: a data set with one run"
            return Estimate(mean, None, None, count, sd, median, iqm, method)
        return Estimate(mean, welch.low, welch.high, count, sd, median, iqm, welch.method)
    intervals = _bootstrapped(rows, expanded_tail(least, _degrees(each), level), level, seed)
    found = intervals["mean"]
    return Estimate(
        mean,
        found.low,
        found.high,
        count,
        sd,
        median,
        iqm,
        found.method,
        intervals["median"],
        intervals["iqm"],
    )


def _average(each: Sequence[Estimate], statistic: str) -> float:
    """A statistic averaged over the strata."""
    return math.fsum(getattr(e, statistic) for e in each) / len(each)


def _within(each: Sequence[Estimate]) -> float | None:
    """Pooled spread within the strata, None where each is a single run."""
    degrees = sum(e.n - 1 for e in each)
    within = math.fsum((e.sd or 0.0) ** 2 * (e.n - 1) for e in each)
    return math.sqrt(within / degrees) if degrees else None


def _bootstrapped(
    rows: Sequence[NDArray[np.float64]], tail: float, level: float, seed: int
) -> dict[str, Interval]:
    """Intervals by statistic, the share `tail` of the replicates cut off at each end."""
    draws = stratified_replicates(rows, seed)
    kind = "stratified bootstrap" if len(rows) > 1 else "bootstrap"
    method = f"{kind}, expanded percentile, {100 * level:g} %, {len(draws['mean']):,} resamples"
    ends = {name: np.quantile(values, [tail, 1 - tail]) for name, values in draws.items()}
    return {name: Interval(float(low), float(high), method) for name, (low, high) in ends.items()}


def expanded_tail(n: int, degrees: float, level: float = LEVEL) -> float:
    """Share of the replicates to cut off each end (Hesterberg 2015, section 5.3).

    Args:
        n: Size of the smallest stratum, at least 2.
        degrees: Degrees of freedom of the spread.
        level: Coverage.
    """
    return float(special.ndtr(-math.sqrt(n / (n - 1)) * float(special.stdtrit(degrees, (1 + level) / 2))))


def stratified_replicates(rows: Sequence[NDArray[np.float64]], seed: int = 0) -> Replicates:
    """Mean, median and interquartile mean of resamples, each averaged over the strata.

    Args:
        rows: Sorted values by stratum.
        seed: Seed of the drawing; equal values and seed give equal replicates.
    """
    largest = max(row.size for row in rows)
    resamples = max(MIN_RESAMPLES, min(RESAMPLES, MAX_DRAWS // largest))
    generator = np.random.default_rng(seed)
    total = {name: np.zeros(resamples) for name in ("mean", "median", "iqm")}
    for row in rows:
        n = row.size
        cut = n // 4
        for start in range(0, resamples, step := max(1, _CHUNK // n)):
            stop = min(start + step, resamples)
            # the values are sorted, so sorted places give sorted resamples
            places = np.sort(generator.integers(0, n, (stop - start, n), dtype=np.int32), axis=1)
            drawn = row[places]
            total["mean"][start:stop] += drawn.mean(axis=1)
            total["median"][start:stop] += (drawn[:, (n - 1) // 2] + drawn[:, n // 2]) / 2
            total["iqm"][start:stop] += drawn[:, cut : n - cut].mean(axis=1)
    return {name: values / len(rows) for name, values in total.items()}


def _welch(each: Sequence[Estimate], mean: float, level: float) -> Interval | None:
    """Interval of a mean of stratum means with unequal spreads (Welch 1947, Satterthwaite 1946)."""
    if any(e.sd is None for e in each):
        return None
    error = math.sqrt(math.fsum((e.sd or 0.0) ** 2 / e.n for e in each)) / len(each)
    half = float(special.stdtrit(_degrees(each), (1 + level) / 2)) * error
    return Interval(mean - half, mean + half, f"Welch's t over {len(each)} data sets, {100 * level:g} %")


def _degrees(each: Sequence[Estimate]) -> float:
    """Degrees of freedom of the error of a mean of stratum means (Satterthwaite 1946)."""
    parts = [((e.sd or 0.0) ** 2 / e.n, e.n - 1) for e in each]
    spread = math.fsum(p * p / d for p, d in parts if d)
    return math.fsum(p for p, _ in parts) ** 2 / spread if spread else float(sum(d for _, d in parts))
