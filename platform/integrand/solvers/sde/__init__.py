"""Solvers of stochastic differential equations."""

from .base import SDE, SDESolver
from .brownian import Brownian, BrownianPath
from .euler_heun import EulerHeun
from .euler_maruyama import EulerMaruyama
from .heun import StratonovichHeun
from .logqp import LatentSDE, solve_logqp
from .midpoint import StratonovichMidpoint
from .milstein import Milstein
from .reversible_heun import ReversibleHeunSDE
from .srk import SRK
from .torchsde_backend import TorchSDE

__all__ = [
    "SDE",
    "SRK",
    "Brownian",
    "BrownianPath",
    "EulerHeun",
    "EulerMaruyama",
    "LatentSDE",
    "Milstein",
    "ReversibleHeunSDE",
    "SDESolver",
    "StratonovichHeun",
    "StratonovichMidpoint",
    "TorchSDE",
    "solve_logqp",
]
