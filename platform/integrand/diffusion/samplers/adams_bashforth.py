"""Weights of Adams–Bashforth with equal steps, newest first."""

from __future__ import annotations

from torch import Tensor

from .transfer import combine

WEIGHTS: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def extrapolate(past: list[Tensor]) -> Tensor:
    """The weighted noise of the last four predictions at most.

    Args:
        past: Predictions at equal steps, newest last; what is older than four is dropped.
    """
    del past[:-4]
    newest, *older = reversed(past)
    first, *rest = WEIGHTS[len(past) - 1]
    return combine(first, newest, *zip(rest, older, strict=True))
