"""Explicit Runge–Kutta methods, one per file: a tableau and what it declares."""

from .bosh3 import Bosh3
from .dopri5 import Dopri5
from .dopri8 import Dopri8
from .euler import Euler
from .fehlberg45 import Fehlberg45
from .heun import Heun
from .midpoint import Midpoint
from .ralston import Ralston
from .rk4 import RK4
from .rk38 import RK38
from .tsit5 import Tsit5

__all__ = [
    "RK4",
    "RK38",
    "Bosh3",
    "Dopri5",
    "Dopri8",
    "Euler",
    "Fehlberg45",
    "Heun",
    "Midpoint",
    "Ralston",
    "Tsit5",
]
