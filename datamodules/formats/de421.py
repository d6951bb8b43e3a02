"""The ephemeris DE421 as the package `de421` holds it: Chebyshev coefficients by body and span."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from integrand.errors import DataError

from .packed import Arrays

BODIES = ("mercury", "venus", "earthmoon", "mars", "jupiter", "saturn", "uranus", "neptune", "pluto", "sun")
MEMBERS = tuple(f"jpl-{body}.npy" for body in BODIES)


def read(member: Callable[[str], bytes]) -> Arrays:
    """Coefficients in km of the barycentric position of each body, shape (spans, 3, order)."""
    arrays: Arrays = {}
    for body, name in zip(BODIES, MEMBERS, strict=True):
        try:
            table = np.load(io.BytesIO(member(name)), allow_pickle=False)
        except (EOFError, OSError, ValueError) as error:
            raise DataError(f"{name} is no array: {error}", "delete it and fetch it again") from error
        if table.ndim != 3 or table.shape[1] != 3 or table.dtype.kind != "f":
            raise DataError(f"{name} holds no coefficients: {table.dtype} {table.shape}", "fetch it again")
        arrays[body] = table.astype(np.float64)
    return arrays
