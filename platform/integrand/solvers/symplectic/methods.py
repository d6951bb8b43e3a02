"""Leapfrog, Yoshida's compositions of it, and a Nyström method for second-order systems."""

from __future__ import annotations

from typing import ClassVar

from .base import SplittingSolver
from .splitting import Splitting, composed


class Leapfrog(SplittingSolver):
    """Störmer–Verlet, kick–drift–kick: order 2, one evaluation per step.

    Hairer, Lubich, Wanner (2003), Geometric numerical integration illustrated by the Störmer–Verlet method.
    """

    order: ClassVar[int | None] = 2
    splitting = composed((1.0,))


_W = 1 / (2 - 2 ** (1 / 3))


class Yoshida4(SplittingSolver):
    """Forest and Ruth (1990), Yoshida (1990), eq. 2.11: order 4, three evaluations per step."""

    order: ClassVar[int | None] = 4
    splitting = composed((_W, 1 - 2 * _W, _W))


_OUTER = (0.78451361047755726382, 0.23557321335935813368, -1.17767998417887100695)


class Yoshida6(SplittingSolver):
    """Yoshida (1990), table 1, solution A: order 6, seven evaluations per step.

    Digits as in Hairer, Lubich, Wanner (2006), eq. V.3.11.
    """

    order: ClassVar[int | None] = 6
    splitting = composed((*_OUTER, 1 - 2 * sum(_OUTER), *reversed(_OUTER)))


_A = (0.245298957184271, 0.604872665711080)
_B = (0.0829844064174052, 0.396309801498368, -0.0390563049223486)


class Nystrom4(SplittingSolver):
    """Runge–Kutta–Nyström of order 4 for q̈ = force(t, q), six evaluations per step.

    Blanes and Moan (2002), Practical symplectic partitioned Runge–Kutta and Runge–Kutta–Nyström methods,
    SRKN6b: it uses that the velocity is p, and is then far more accurate than `Yoshida4` at equal cost.
    """

    order: ClassVar[int | None] = 4
    second_order_only: ClassVar[bool] = True
    splitting = Splitting(
        kicks=(*_B, 1 - 2 * sum(_B), *reversed(_B)),
        drifts=(*_A, 0.5 - sum(_A), 0.5 - sum(_A), *reversed(_A)),
    )
