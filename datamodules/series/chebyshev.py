"""Positions of planets from Chebyshev polynomials in time, span by span."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

Array = npt.NDArray[np.float64]

FIRST, LAST = 2414992.5, 2524624.5
"""Julian dates between which the spans of DE421 lie, all of one length for a body."""


class Motion(NamedTuple):
    """Position and its derivatives, each of shape (n, 3), per day."""

    position: Array
    velocity: Array
    acceleration: Array


def motion(coefficients: Array, dates: Array) -> Motion:
    """Evaluate x = Σ c_k T_k(τ) and its derivatives, τ from −1 to 1 in each span.

    Args:
        coefficients: Shape (spans, 3, order).
        dates: Julian dates between `FIRST` and `LAST`, shape (n,).
    """
    length = (LAST - FIRST) / len(coefficients)
    span = np.clip(((dates - FIRST) // length).astype(np.int64), 0, len(coefficients) - 1)
    tau = 2 * (dates - FIRST - span * length) / length - 1
    found = []
    for times in range(3):
        c = chebyshev.chebder(coefficients[span], m=times, scl=2 / length, axis=-1)
        basis = chebyshev.chebvander(tau, c.shape[-1] - 1)
        found.append(np.einsum("nik,nk->ni", c, basis))
    return Motion(*found)
