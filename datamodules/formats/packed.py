"""Series of unequal lengths as few arrays: the layout in which every set of series is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from ..series.recording import Recording

Arrays = dict[str, npt.NDArray[Any]]
WHOLE = "all"  # of a set that was published without a split


def counted(
    values: npt.NDArray[np.float64], answer: int | npt.NDArray[np.float64] | None = None
) -> Recording:
    """A series whose file has no times: observations are counted from 0.

    Args:
        values: Shape (n, channels), NaN where missing.
        answer: The class, or the targets.
    """
    return Recording(np.arange(len(values), dtype=np.float64), values, answer=answer)


def pack(split: str, recordings: Sequence[Recording]) -> Arrays:
    """The arrays of one split; answers and names only where the first series has them."""
    arrays: Arrays = {
        "lengths": np.array([len(r) for r in recordings], dtype=np.int64),
        "times": np.concatenate([r.times for r in recordings]),
        "values": np.concatenate([r.values for r in recordings]),
        "static": np.stack([r.static for r in recordings]),
    }
    if recordings[0].answer is not None:
        arrays["answers"] = np.array([r.answer for r in recordings])
    if recordings[0].name:
        arrays["names"] = np.array([r.name for r in recordings])
    return {f"{split}_{key}": array for key, array in arrays.items()}


def unpack(arrays: Arrays, split: str) -> list[Recording]:
    """The inverse of `pack`.

    Raises:
        DataError: The arrays are no such split, or contradict each other.
    """
    part = {key.removeprefix(f"{split}_"): a for key, a in arrays.items() if key.startswith(f"{split}_")}
    if not {"lengths", "times", "values", "static"} <= part.keys() or any(
        len(part[key]) != n
        for key, n in {
            "times": part["lengths"].sum(),
            "values": part["lengths"].sum(),
            "static": len(part["lengths"]),
        }.items()
    ):
        raise DataError(f"the stored arrays hold no whole split {split!r}", "delete them and fetch it again")
    ends = np.cumsum(part["lengths"])[:-1]
    n = len(part["lengths"])
    parts = zip(
        np.split(part["times"], ends),
        np.split(part["values"], ends),
        part["static"],
        part.get("answers", [None] * n),
        part.get("names", [f"{split} series {i + 1}" for i in range(n)]),
        strict=True,
    )
    return [Recording(t, x, static, answer, name=str(name)) for t, x, static, answer, name in parts]
