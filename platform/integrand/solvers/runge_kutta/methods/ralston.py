"""Ralston's second-order method."""

from __future__ import annotations

from typing import ClassVar

from integrand.solvers.runge_kutta.solver import RungeKutta
from integrand.solvers.runge_kutta.tableau import Tableau


class Ralston(RungeKutta):
    """Ralston (1962): order 2, two stages, the smallest bound of the truncation error among them."""

    order: ClassVar[int] = 2
    tableau: ClassVar[Tableau] = Tableau(
        c=(0.0, 2 / 3),
        a=((), (2 / 3,)),
        b=(1 / 4, 3 / 4),
        b_low=(1.0, 0.0),
        error_order=1,
        stability=2.0,
    )
