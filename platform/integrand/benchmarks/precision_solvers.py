"""Solves of the work-precision table by three libraries, with their errors and evaluations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from integrand.solvers import Bosh3, Dopri5, Dopri8, RungeKutta, Tsit5

from .precision_problems import InitialValueProblem


@dataclass(frozen=True)
class Run:
    """One solve.

    Args:
        tolerance: rtol and atol.
        error: Error of the last state, relative to its norm.
        nfe: Evaluations, rejected steps included.
    """

    tolerance: float
    error: float
    nfe: int


@dataclass(frozen=True)
class Pair:
    """Methods of one order in three libraries.

    Args:
        ours: Our method.
        torchdiffeq: torchdiffeq's name.
        scipy: SciPy's name.
        finest: Finest tolerance, as a power of ten.
    """

    ours: type[RungeKutta]
    torchdiffeq: str
    scipy: str
    finest: int


PAIRS = (
    Pair(Bosh3, "bosh3", "RK23", -6),
    Pair(Dopri5, "dopri5", "RK45", -9),
    Pair(Tsit5, "dopri5", "RK45", -9),
    Pair(Dopri8, "dopri8", "DOP853", -11),
)


class _Counted(nn.Module):
    def __init__(self, problem: InitialValueProblem, batch: bool) -> None:
        super().__init__()
        self.problem, self.batch, self.calls = problem, batch, 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.problem.f(t, y[0]).unsqueeze(0) if self.batch else self.problem.f(t, y)


@torch.no_grad()
def ours(problem: InitialValueProblem, method: type[RungeKutta], tolerance: float) -> Run:
    """By this package."""
    y0 = torch.tensor([problem.y0], dtype=torch.float64)
    solver = method(rtol=tolerance, atol=tolerance)
    solution = solver.solve(_Counted(problem, True), y0, [0.0, problem.end])
    return _run(problem, tolerance, solution.ys[-1, 0], solution.stats.nfe_forward)


@cache
@torch.no_grad()
def by_torchdiffeq(problem: InitialValueProblem, method: str, tolerance: float) -> Run:
    """By torchdiffeq."""
    field = _Counted(problem, False)
    y0, t = (
        torch.tensor(problem.y0, dtype=torch.float64),
        torch.tensor([0.0, problem.end], dtype=torch.float64),
    )
    ys = torchdiffeq.odeint(field, y0, t, rtol=tolerance, atol=tolerance, method=method)
    return _run(problem, tolerance, ys[-1], field.calls)


@cache
def by_scipy(problem: InitialValueProblem, method: str, tolerance: float) -> Run:
    """By SciPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = solve_ivp(
            problem.numpy,
            (0.0, problem.end),
            np.array(problem.y0),
            method=method,
            rtol=tolerance,
            atol=tolerance,
        )
    return _run(problem, tolerance, torch.from_numpy(result.y[:, -1]), int(result.nfev))


def _run(problem: InitialValueProblem, tolerance: float, y: Tensor, nfe: int) -> Run:
    error = (y - problem.exact).norm() / problem.exact.norm()
    return Run(tolerance, float(error), nfe)


def runs_of(problem: InitialValueProblem, pair: Pair, per_decade: int) -> dict[str, list[Run]]:
    """The runs of all three libraries at tolerances from 1e-3 to the pair's finest.

    Args:
        problem: What to solve.
        pair: By which methods.
        per_decade: Tolerances in a factor of ten.
    """
    steps = (-3 - pair.finest) * per_decade
    tolerances = [10 ** (-3 - i / per_decade) for i in range(steps + 1)]
    libraries: dict[str, Callable[[float], Run]] = {
        "integrand": lambda tol: ours(problem, pair.ours, tol),
        "torchdiffeq": lambda tol: by_torchdiffeq(problem, pair.torchdiffeq, tol),
        "SciPy": lambda tol: by_scipy(problem, pair.scipy, tol),
    }
    return {name: [solve(tol) for tol in tolerances] for name, solve in libraries.items()}
