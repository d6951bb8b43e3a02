"""Heun's method with Euler embedded."""

from __future__ import annotations

from typing import ClassVar

from integrand.solvers.runge_kutta.solver import RungeKutta
from integrand.solvers.runge_kutta.tableau import Tableau


class Heun(RungeKutta):
    """Heun (1900), the explicit trapezoidal rule: order 2, two stages, Euler embedded."""

    order: ClassVar[int] = 2
    tableau: ClassVar[Tableau] = Tableau(
        c=(0.0, 1.0),
        a=((), (1.0,)),
        b=(1 / 2, 1 / 2),
        b_low=(1.0, 0.0),
        error_order=1,
        stability=2.0,
    )
