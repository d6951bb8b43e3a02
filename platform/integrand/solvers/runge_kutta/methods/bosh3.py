"""The pair of Bogacki and Shampine."""

from __future__ import annotations

from typing import ClassVar

from integrand.solvers.runge_kutta.solver import RungeKutta
from integrand.solvers.runge_kutta.tableau import Tableau


class Bosh3(RungeKutta):
    """Bogacki and Shampine (1989), 3(2): order 3, four stages of which one is shared between steps (FSAL).

    Dense output by the cubic Hermite polynomial, order 3.
    """

    order: ClassVar[int] = 3
    tableau: ClassVar[Tableau] = Tableau(
        c=(0.0, 1 / 2, 3 / 4, 1.0),
        a=((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
        b=(2 / 9, 1 / 3, 4 / 9, 0.0),
        b_low=(7 / 24, 1 / 4, 1 / 3, 1 / 8),
        error_order=2,
        dense=((1.0, -4 / 3, 5 / 9), (0.0, 1.0, -2 / 3), (0.0, 4 / 3, -8 / 9), (0.0, -1.0, 1.0)),
        stability=2.513,
    )
