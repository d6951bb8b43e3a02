"""`integrand bench intervals`: how often the comparison's intervals hold, and how often it is wrong.

Simulated groups with a known mean show why the comparison changes from Student's t to a bootstrap at ten
runs; simulated tables of equal families show why the correction covers all pairs where no baseline is named.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import special, stats

from integrand.comparison.statistics.bootstrap import expanded_tail
from integrand.comparison.statistics.estimates import LEVEL, holm

Array = NDArray[np.float64]
SIZES = (5, 10, 20)
RESAMPLES = 2_000
DRAWS: dict[str, tuple[float, Callable[[np.random.Generator, int], Array]]] = {
    "normal": (0.0, lambda generator, n: generator.normal(size=n)),
    "exponential": (1.0, lambda generator, n: generator.exponential(size=n)),
}
"""True mean and values of a group, by the name of their distribution."""
METHODS = ("Student t", "percentile", "BCa", "expanded percentile")
FAMILIES = (10, 40)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--trials", type=int, default=2000, help="simulated groups and tables (default 2000)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of a family in a table (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")


def run(args: argparse.Namespace) -> int:
    """Simulate, print two tables, and write the figures."""
    generator = np.random.default_rng(args.seed)
    covered = [
        {"runs": n, "values": name, **coverage(name, n, args.trials, generator)}
        for n in SIZES
        for name in DRAWS
    ]
    wrong = [
        {"families": k, "seeds": args.seeds, **false_findings(k, args.seeds, args.trials, generator)}
        for k in FAMILIES
    ]
    console = Console()
    _print(console, f"Intervals of the mean that hold, %, of {args.trials} groups", covered)
    _print(console, f"Tables of equal families with a false finding, %, of {args.trials}", wrong)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"coverage": covered, "false_findings": wrong}, indent=1) + "\n")
    return 0


def coverage(name: str, n: int, trials: int, generator: np.random.Generator) -> dict[str, float]:
    """Share of simulated groups of `n` runs whose interval holds the true mean, in per cent, by method."""
    true, draw = DRAWS[name]
    hits = dict.fromkeys(METHODS, 0)
    for _ in range(trials):
        for method, (low, high) in intervals(draw(generator, n), generator).items():
            hits[method] += bool(low <= true <= high)
    return {method: 100 * count / trials for method, count in hits.items()}


def intervals(values: Array, generator: np.random.Generator) -> dict[str, tuple[float, float]]:
    """The intervals of the mean by every method, at the comparison's level."""
    n, mean, tail = values.size, values.mean(), (1 - LEVEL) / 2
    half = special.stdtrit(n - 1, 1 - tail) * values.std(ddof=1) / np.sqrt(n)
    means = values[generator.integers(0, n, (RESAMPLES, n))].mean(axis=1)
    shares = {
        "percentile": (tail, 1 - tail),
        "BCa": _bca_shares(values, means, tail),
        "expanded percentile": (cut := expanded_tail(n, n - 1, LEVEL), 1 - cut),
    }
    ends = {name: np.quantile(means, share) for name, share in shares.items()}
    return {
        "Student t": (mean - half, mean + half),
        **{k: (float(a), float(b)) for k, (a, b) in ends.items()},
    }


def _bca_shares(values: Array, means: Array, tail: float) -> tuple[float, float]:
    """Bias-corrected and accelerated shares of the resamples (Efron 1987, equation 2.3)."""
    bias = special.ndtri(np.clip((means < values.mean()).mean(), 1e-6, 1 - 1e-6))
    influence = values - values.mean()  # of the jackknife, up to a factor that cancels
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)

    def share(alpha: float) -> float:
        z = bias + special.ndtri(alpha)
        return float(special.ndtr(bias + z / (1 - acceleration * z)))

    return share(tail), share(1 - tail)


def false_findings(k: int, n: int, trials: int, generator: np.random.Generator) -> dict[str, float]:
    """Share of tables of `k` equal families that tell one from the best mean, in per cent, by correction.

    Paired t tests over `n` seeds. `all pairs` is what the comparison does without a baseline, `named
    baseline` what it does with one; `best mean over k - 1` is what it does not do.
    """
    rows, columns = np.triu_indices(k, 1)
    hits = {"all pairs": 0, "named baseline": 0, "best mean over k - 1": 0}
    for _ in range(trials):
        table = generator.normal(size=(k, n))
        p = stats.ttest_1samp(table[rows] - table[columns], 0, axis=1).pvalue
        best = int(table.mean(axis=1).argmax())
        of_best = (rows == best) | (columns == best)
        hits["all pairs"] += bool((np.array(holm(list(p)))[of_best] < 1 - LEVEL).any())
        # Holm's first step decides whether anything is found at all
        hits["named baseline"] += bool(p[(rows == 0) | (columns == 0)].min() * (k - 1) < 1 - LEVEL)
        hits["best mean over k - 1"] += bool(p[of_best].min() * (k - 1) < 1 - LEVEL)
    return {name: 100 * count / trials for name, count in hits.items()}


def _print(console: Console, title: str, rows: list[dict[str, object]]) -> None:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
