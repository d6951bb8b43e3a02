"""Which numbers of a data set a network can be given."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = float(np.finfo(np.float32).max)
"""About 3.4e38: models compute in float32, where anything beyond is infinite."""


def is_usable(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which values are finite in float32, of the same shape; those that are NaN are not."""
    largest = np.float64(LARGEST)  # a plain number would be compared in float16 with float16
    usable: npt.NDArray[np.bool_] = np.isfinite(values) & (np.abs(values) <= largest)
    return usable
