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
from .solution import Solution, SolveStats, Status
from .torchdiffeq_backend import TorchDiffEq

__all__ = [
    "EulerScheme",
    "EvaluationCounter",
    "MaxNFEError",
    "NonFiniteStateError",
    "ODESolver",
    "Scheme",
    "Solution",
    "SolveStats",
    "SolverError",
    "SolverOptionError",
    "Status",
    "StepUnderflowError",
    "TorchDiffEq",
    "count",
]
