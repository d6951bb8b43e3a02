"""Euler's method."""

from __future__ import annotations

from typing import ClassVar

from integrand.solvers.runge_kutta.solver import RungeKutta
from integrand.solvers.runge_kutta.tableau import Tableau


class Euler(RungeKutta):
    """Euler (1768): order 1, one stage, fixed steps."""

    order: ClassVar[int] = 1
    tableau: ClassVar[Tableau] = Tableau(c=(0.0,), a=((),), b=(1.0,), stability=2.0)
