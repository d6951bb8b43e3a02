"""`integrand bench stiff`: work at equal error on stiff problems, against SciPy's Radau.

Work is evaluations and, for every Jacobian, as many products as the state has components; Radau is given
its Jacobian exactly, so that its evaluations hold none for differences. The curve of a method is the
quadratic of the logarithm of work in that of the error through its runs at several tolerances, for a single
run is lucky or not.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.integrate import solve_ivp
from torch import Tensor

from integrand.solvers import Kvaerno5, Rodas5P
from integrand.solvers.errors import SolverError

from .solvers_timing import one_thread
from .stiff_problems import PROBLEMS, StiffProblem

METHODS = (Rodas5P, Kvaerno5)
TARGET = 2.0
LEVELS = 9
"""Errors, evenly spaced in their logarithm, at which curves are compared."""
REFERENCE = 1e-10
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One solve.

    Args:
        tolerance: rtol; atol is it times the problem's scale.
        work: Evaluations, and d products for every Jacobian.
        error: Largest error of a component of the last state, relative to it or to the problem's scale.
    """

    tolerance: float
    work: int
    error: float


@dataclass(frozen=True)
class Row:
    """One problem and method against Radau.

    Args:
        problem: Name of the problem.
        method: Our method.
        at_equal_tolerance: Our work over Radau's, one for each tolerance.
        ratio: Geometric mean over the errors that both reached of our work over Radau's.
        errors: Largest and smallest of these errors.
        met: Whether `ratio` stays below the target.
    """

    problem: str
    method: str
    at_equal_tolerance: tuple[float, ...]
    ratio: float
    errors: tuple[float, float]
    met: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--problems", nargs="*", metavar="NAME", help="only problems whose name begins so")
    parser.add_argument(
        "--finest", type=int, default=7, metavar="N", help="finest tolerance 1e-N (default 7)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as a JSON list")


def run(args: argparse.Namespace) -> int:
    """Solve, compare, print a table, and write the rows."""
    chosen = [
        p
        for p in PROBLEMS
        if not args.problems or p.__name__.lower().startswith(tuple(map(str.lower, args.problems)))
    ]
    tolerances = [10.0**-i for i in range(3, args.finest + 1)]
    with one_thread():
        rows = [
            row
            for problem in track(chosen, "bench stiff", console=Console(stderr=True))
            for row in rows_of(problem(), tolerances)
        ]
    _print(rows, tolerances)
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n", encoding="utf-8")
    return 0


def rows_of(problem: StiffProblem, tolerances: list[float]) -> list[Row]:
    """All methods on one problem.

    Args:
        problem: What to solve.
        tolerances: For the relative tolerance of each run.
    """
    exact = _radau(problem, REFERENCE)[0]
    theirs = [by_radau(problem, tolerance, exact) for tolerance in tolerances]
    rows = []
    for method in METHODS:
        ours = [by_us(method, problem, tolerance, exact) for tolerance in tolerances]
        ratio, errors = at_equal_error(ours, theirs)
        equal = tuple(round(a.work / b.work, 2) for a, b in zip(ours, theirs, strict=True))
        rows.append(
            Row(type(problem).__name__, method.__name__, equal, round(ratio, 2), errors, ratio <= TARGET)
        )
    return rows


def at_equal_error(ours: list[Run], theirs: list[Run]) -> tuple[float, tuple[float, float]]:
    """Geometric mean of our work over theirs at the errors that both reached, and the range of these."""
    spans = [[math.log(r.error) for r in _usable(runs)] for runs in (ours, theirs)]
    low, high = max(map(min, spans)), min(map(max, spans))
    levels = np.linspace(low, high, LEVELS)
    difference = _curve(ours, levels) - _curve(theirs, levels)
    return math.exp(difference.mean()), (float(f"{math.exp(high):.1e}"), float(f"{math.exp(low):.1e}"))


def _usable(runs: list[Run]) -> list[Run]:
    """Runs that found the solution, and not so well that the reference's error is theirs."""
    return [r for r in runs if 10 * REFERENCE < r.error < 0.3]


def _curve(runs: list[Run], levels: Array) -> Array:
    used = _usable(runs)
    fit = np.polyfit(
        [math.log(r.error) for r in used], [math.log(r.work) for r in used], min(2, len(used) - 1)
    )
    return np.asarray(np.polyval(fit, levels))


def by_us(method: type[Rodas5P | Kvaerno5], problem: StiffProblem, rtol: float, exact: Array) -> Run:
    """One of our runs; a solve that fails has an infinite error."""
    solver = method(rtol=rtol, atol=rtol * problem.scale)
    y0 = torch.tensor([problem.y0], dtype=torch.float64)
    try:
        with torch.no_grad():
            solution = solver.solve(problem, y0, [0.0, problem.end])
    except SolverError:
        return Run(rtol, solver.max_nfe, math.inf)
    stats = solution.stats
    return _run(problem, rtol, stats.nfe_forward + stats.vjps, solution.ys[-1, 0].numpy(), exact)


def by_radau(problem: StiffProblem, rtol: float, exact: Array) -> Run:
    """One of Radau's runs."""
    y, work = _radau(problem, rtol)
    return _run(problem, rtol, work, y, exact)


def _run(problem: StiffProblem, rtol: float, work: int, y: Array, exact: Array) -> Run:
    error = np.abs(y - exact) / np.maximum(np.abs(exact), problem.scale)
    return Run(rtol, work, float(error.max()))


@cache
def _radau(problem: StiffProblem, rtol: float) -> tuple[Array, int]:
    zero = torch.zeros((), dtype=torch.float64)
    derivative = torch.func.jacrev(lambda y: problem(zero, y))

    def f(_: float, y: Array) -> Array:
        value: Tensor = problem(zero, torch.from_numpy(np.ascontiguousarray(y)))
        return value.numpy()

    def jacobian(_: float, y: Array) -> Array:
        return np.asarray(derivative(torch.from_numpy(np.ascontiguousarray(y))).numpy())

    found = solve_ivp(
        f,
        (0.0, problem.end),
        problem.y0,
        method="Radau",
        rtol=rtol,
        atol=rtol * problem.scale,
        jac=jacobian,
        t_eval=[problem.end],
    )
    return found.y[:, -1], int(found.nfev + len(problem.y0) * found.njev)


def _print(rows: list[Row], tolerances: list[float]) -> None:
    table = Table(title="Work over that of SciPy's Radau")
    headings: list[Any] = ["problem", "method", "at equal error", "errors", *(f"{x:.0e}" for x in tolerances)]
    for heading in headings:
        table.add_column(str(heading), justify="left" if heading in {"problem", "method"} else "right")
    for r in rows:
        equal = f"{r.ratio:.2f}" if r.met else f"[red]{r.ratio:.2f}[/red]"
        errors = f"{r.errors[0]:.0e}…{r.errors[1]:.0e}"
        table.add_row(r.problem, r.method, equal, errors, *(f"{x:.2f}" for x in r.at_equal_tolerance))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(f"torch {torch.__version__}, python {platform.python_version()}", highlight=False)
