"""Alexander's singly diagonally implicit method of order 3, for stiff fields."""

from __future__ import annotations

from typing import ClassVar

from .diagonal import DIRKSolver
from .tableau import DIRKTableau

GAMMA = 0.43586652150845967
C = (GAMMA, (1 + GAMMA) / 2, 1.0)
B = (-(6 * GAMMA**2 - 16 * GAMMA + 1) / 4, (6 * GAMMA**2 - 20 * GAMMA + 5) / 4, GAMMA)
# the second-order weights on the first two stages: Σb = 1, Σbc = 1/2
_LOW = (1 / 2 - C[0]) / (C[1] - C[0])


class SDIRK3(DIRKSolver):
    """Alexander (1977): order 3, three implicit stages, L-stable."""

    order: ClassVar[int | None] = 3
    tableau: ClassVar[DIRKTableau] = DIRKTableau(
        gamma=GAMMA,
        c=C,
        a=((), ((1 - GAMMA) / 2,), B[:2]),
        b=B,
        b_low=(1 - _LOW, _LOW, 0.0),
        error_order=2,
    )
