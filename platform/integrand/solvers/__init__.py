"""Solvers: (field, state, times) → trajectory and what it cost."""

from .accounts import EvaluationCounter, count
from .base import ODESolver
from .discrete import EulerScheme, Scheme
from .errors import (
    MaxNFEError,
    NonFiniteStateError,
    SolverError,
    SolverOptionError,
    StepUnderflowError,
)
from .runge_kutta import (
    RK4,
    RK38,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    Fehlberg45,
    Heun,
    Midpoint,
    Ralston,
    RungeKutta,
    Tsit5,
)
from .solution import Solution, SolveStats, Status
from .torchdiffeq_backend import TorchDiffEq

__all__ = [
    "RK4",
    "RK38",
    "Bosh3",
    "Dopri5",
    "Dopri8",
    "Euler",
    "EulerScheme",
    "EvaluationCounter",
    "Fehlberg45",
    "Heun",
    "MaxNFEError",
    "Midpoint",
    "NonFiniteStateError",
    "ODESolver",
    "Ralston",
    "RungeKutta",
    "Scheme",
    "Solution",
    "SolveStats",
    "SolverError",
    "SolverOptionError",
    "Status",
    "StepUnderflowError",
    "TorchDiffEq",
    "Tsit5",
    "count",
]
