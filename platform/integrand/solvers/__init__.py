"""Solvers: (field, state, times) → trajectory and what it cost."""

from .accounts import EvaluationCounter, count
from .base import ODESolver
from .control import (
    CDESolver,
    ControlledField,
    ControlPath,
    hermite_control,
    linear_control,
    log_signature_control,
    natural_cubic_control,
    rectilinear_control,
)
from .discrete import EulerScheme, Scheme
from .errors import (
    MaxNFEError,
    NonFiniteStateError,
    SolverError,
    SolverOptionError,
    StepUnderflowError,
)
from .functional import cdeint, odeint, sdeint
from .implicit import SDIRK3
from .reversible import Reversible
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
from .sde import (
    SDE,
    SRK,
    Brownian,
    BrownianPath,
    EulerMaruyama,
    Milstein,
    SDESolver,
    StratonovichHeun,
    TorchSDE,
)
from .solution import Solution, SolveStats, Status
from .symplectic import (
    ImplicitMidpoint,
    Leapfrog,
    Nystrom4,
    SecondOrderField,
    SeparableField,
    Yoshida4,
    Yoshida6,
)
from .torchdiffeq_backend import TorchDiffEq

__all__ = [
    "RK4",
    "RK38",
    "SDE",
    "SDIRK3",
    "SRK",
    "Bosh3",
    "Brownian",
    "BrownianPath",
    "CDESolver",
    "ControlPath",
    "ControlledField",
    "Dopri5",
    "Dopri8",
    "Euler",
    "EulerMaruyama",
    "EulerScheme",
    "EvaluationCounter",
    "Fehlberg45",
    "Heun",
    "ImplicitMidpoint",
    "Leapfrog",
    "MaxNFEError",
    "Midpoint",
    "Milstein",
    "NonFiniteStateError",
    "Nystrom4",
    "ODESolver",
    "Ralston",
    "Reversible",
    "RungeKutta",
    "SDESolver",
    "Scheme",
    "SecondOrderField",
    "SeparableField",
    "Solution",
    "SolveStats",
    "SolverError",
    "SolverOptionError",
    "Status",
    "StepUnderflowError",
    "StratonovichHeun",
    "TorchDiffEq",
    "TorchSDE",
    "Tsit5",
    "Yoshida4",
    "Yoshida6",
    "cdeint",
    "count",
    "hermite_control",
    "linear_control",
    "log_signature_control",
    "natural_cubic_control",
    "odeint",
    "rectilinear_control",
    "sdeint",
]
