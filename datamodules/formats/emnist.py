"""The IDX files of EMNIST, whose images lie on their side (Cohen et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import idx

SUBSETS = ("balanced", "byclass", "bymerge", "letters", "digits", "mnist")
Member = Callable[[str], bytes]


def members(subset: str) -> tuple[str, ...]:
    """The files of a subset."""
    parts = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
    return tuple(f"emnist-{subset}-{part}-ubyte" for part in parts)


def reader(subset: str) -> Callable[[Member], dict[str, npt.NDArray[Any]]]:
    """A reader of that subset."""

    def read(member: Member) -> dict[str, npt.NDArray[Any]]:
        arrays = idx.read(member, members(subset))
        for key, array in arrays.items():
            if array.ndim == 4:
                # stored column by column
                arrays[key] = np.ascontiguousarray(array.transpose(0, 1, 3, 2))
            elif subset == "letters":
                arrays[key] = array - np.uint8(1)  # counted from 1
        return arrays

    return read
