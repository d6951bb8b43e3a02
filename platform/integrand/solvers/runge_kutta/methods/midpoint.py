"""The explicit midpoint rule."""

from __future__ import annotations

from typing import ClassVar

from integrand.solvers.runge_kutta.solver import RungeKutta
from integrand.solvers.runge_kutta.tableau import Tableau


class Midpoint(RungeKutta):
    """Explicit midpoint rule, Runge (1895): order 2, two stages, fixed steps."""

    order: ClassVar[int] = 2
    tableau: ClassVar[Tableau] = Tableau(c=(0.0, 1 / 2), a=((), (1 / 2,)), b=(0.0, 1.0), stability=2.0)
