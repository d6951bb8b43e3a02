"""The Santa Fe laser record as an npy file."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from integrand.errors import DataError

from .packed import WHOLE, Arrays, counted, pack

MEMBERS = ("santafe_laser.npy",)


def read(member: Callable[[str], bytes]) -> Arrays:
    """Intensities 0…255, counted."""
    (name,) = MEMBERS
    try:
        values = np.load(io.BytesIO(member(name)), allow_pickle=False).astype(np.float64).reshape(-1, 1)
    except (EOFError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{name} is no array of numbers: {error}", "delete it and fetch it again") from error
    return pack(WHOLE, [counted(values)])
