"""Explicit Runge–Kutta methods: tableaux, steps, step-size control."""

from .methods import RK4, RK38, Bosh3, Dopri5, Dopri8, Euler, Fehlberg45, Heun, Midpoint, Ralston, Tsit5
from .solver import RungeKutta
from .tableau import Tableau

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
    "RungeKutta",
    "Tableau",
    "Tsit5",
]
