"""The classical Runge–Kutta method."""

from __future__ import annotations

from typing import ClassVar

from integrand.solvers.runge_kutta.solver import RungeKutta
from integrand.solvers.runge_kutta.tableau import Tableau


class RK4(RungeKutta):
    """The classical method, Kutta (1901): order 4, four stages, fixed steps.

    torchdiffeq's `rk4` is not this one but the 3/8 rule, here `RK38`.
    """

    order: ClassVar[int] = 4
    tableau: ClassVar[Tableau] = Tableau(
        c=(0.0, 1 / 2, 1 / 2, 1.0),
        a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
        stability=2.785,
    )
