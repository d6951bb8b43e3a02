"""Weights of Adams–Bashforth with equal steps, newest first."""

from __future__ import annotations

from torch import Tensor

WEIGHTS: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def extrapolated(past: list[Tensor]) -> list[tuple[float, Tensor]]:
    """The noise as a weighted sum of the last four predictions at most: weights with what they weigh.

    Args:
        past: Predictions at equal steps, newest last; what is older than four is dropped.
    """
    del past[:-4]
    return list(zip(WEIGHTS[len(past) - 1], reversed(past), strict=True))
