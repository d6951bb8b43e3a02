"""Evaluations at equal error, read off a curve through the runs of each library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .precision_solvers import Run

LEVELS = 9
"""Errors, evenly spaced in their logarithm, at which curves are compared."""
TARGET = 1.1


@dataclass(frozen=True)
class Comparison:
    """One problem and method against the better of the other two libraries.

    Args:
        problem: Name of the problem.
        method: Our method.
        ratio: Geometric mean over the errors of our evaluations over the fewest of the others'.
        worst: Largest of these ratios.
        torchdiffeq: Geometric mean against torchdiffeq.
        scipy: Geometric mean against SciPy.
        errors: Largest and smallest error compared at.
        met: Whether `ratio` stays below the target.
    """

    problem: str
    method: str
    ratio: float
    worst: float
    torchdiffeq: float
    scipy: float
    errors: tuple[float, float]
    met: bool

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)


def compare(problem: str, method: str, runs: Mapping[str, Sequence[Run]]) -> Comparison:
    """Compare at the errors that all three libraries reached.

    The error of one run is lucky or not; a quadratic of log NFE in log error through all runs of a library is
    its curve.

    Args:
        problem: Name of the problem.
        method: Our method.
        runs: Runs of `integrand`, `torchdiffeq` and `SciPy`.
    """
    ranges = [_range(r) for r in runs.values()]
    low, high = max(a for a, _ in ranges), min(b for _, b in ranges)
    levels = np.linspace(low, high, LEVELS)
    curves = {name: np.polyval(_fit(r), levels) for name, r in runs.items()}
    mine = curves["integrand"]
    better = np.minimum(curves["torchdiffeq"], curves["SciPy"])

    def mean(other: np.ndarray[Any, Any]) -> float:
        return round(float(math.exp((mine - other).mean())), 3)

    ratio = mean(better)
    return Comparison(
        problem,
        method,
        ratio,
        round(float(np.exp((mine - better).max())), 3),
        mean(curves["torchdiffeq"]),
        mean(curves["SciPy"]),
        (float(f"{math.exp(high):.2g}"), float(f"{math.exp(low):.2g}")),
        ratio <= TARGET,
    )


def _usable(runs: Sequence[Run]) -> list[Run]:
    """Runs neither lost nor at rounding, where more evaluations buy nothing."""
    return [r for r in runs if 1e-12 < r.error < 0.3]


def _range(runs: Sequence[Run]) -> tuple[float, float]:
    errors = [math.log(r.error) for r in _usable(runs)]
    return min(errors), max(errors)


def _fit(runs: Sequence[Run]) -> np.ndarray[Any, Any]:
    used = _usable(runs)
    return np.polyfit([math.log(r.error) for r in used], [math.log(r.nfe) for r in used], 2)
