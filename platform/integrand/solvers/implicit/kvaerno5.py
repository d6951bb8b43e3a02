"""Kværnø's method of order 5 with an explicit first stage, for stiff fields."""

from __future__ import annotations

from typing import ClassVar

from .diagonal import DIRKSolver
from .tableau import DIRKTableau

GAMMA = 0.26
_FOURTH = (0.13855640231268224, 0.0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676)
_FIFTH = (
    0.13659751177640291,
    0.0,
    -0.05496908796538376,
    -0.04118626728321046,
    0.62993304899016403,
    0.06962479448202728,
)


class Kvaerno5(DIRKSolver):
    """Kværnø (2004), 5(4): order 5, six implicit stages after an explicit one, both steps L-stable."""

    order: ClassVar[int | None] = 5
    tableau: ClassVar[DIRKTableau] = DIRKTableau(
        gamma=GAMMA,
        c=(0.0, 0.52, 1.230333209967908, 0.8957659843500759, 0.43639360985864756, 1.0, 1.0),
        a=(
            (),
            (GAMMA,),
            (0.13, 0.84033320996790809),
            (0.22371961478320505, 0.47675532319799699, -0.06470895363112615),
            (0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998),
            _FOURTH,
            _FIFTH,
        ),
        b=(*_FIFTH, GAMMA),
        b_low=(*_FOURTH, GAMMA, 0.0),
        error_order=4,
        guesses=((0,), (0, 1), (0, 1, 2), (0, 1), (1, 2, 4), (1, 2, 4)),
    )
