"""Series of unequal lengths as few arrays: the layout in which every set of series is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

Arrays = dict[str, npt.NDArray[Any]]
WHOLE = "all"  # of a set that was published without a split


class Trace(NamedTuple):
    """One series as its file has it.

    Args:
        times: Shape (n,), float64; None where observations are merely counted.
        values: Shape (n, channels), float64, NaN where missing.
        answer: Label, or targets of shape (k,); None where there is none.
        static: What is known of the series as a whole, shape (s,); None where nothing is.
        id: Its name in the file; empty where it has none.
    """

    times: npt.NDArray[np.float64] | None
    values: npt.NDArray[np.float64]
    answer: Any = None
    static: npt.NDArray[np.float64] | None = None
    id: str = ""


def pack(split: str, traces: Sequence[Trace]) -> Arrays:
    """The arrays of one split: what is None in the first trace is left out."""
    first = traces[0]
    arrays: Arrays = {
        "lengths": np.array([len(t.values) for t in traces], dtype=np.int64),
        "values": np.concatenate([t.values for t in traces]),
    }
    if first.times is not None:
        arrays["times"] = np.concatenate([t.times for t in traces if t.times is not None])
    if first.answer is not None:
        arrays["answers"] = np.array([t.answer for t in traces])
    if first.static is not None:
        arrays["static"] = np.array([t.static for t in traces], dtype=np.float64)
    if first.id:
        arrays["ids"] = np.array([t.id for t in traces])
    return {f"{split}_{key}": array for key, array in arrays.items()}


def unpack(arrays: Arrays, split: str) -> list[Trace]:
    """The inverse of `pack`.

    Raises:
        DataError: The arrays are no such split, or contradict each other.
    """
    part = {key.removeprefix(f"{split}_"): a for key, a in arrays.items() if key.startswith(f"{split}_")}
    if not {"lengths", "values"} <= part.keys() or part["lengths"].sum() != len(part["values"]):
        raise DataError(f"the stored arrays hold no whole split {split!r}", "delete them and fetch it again")
    ends = np.cumsum(part["lengths"])[:-1]
    values = np.split(part["values"], ends)
    times = np.split(part["times"], ends) if "times" in part else [None] * len(values)
    rest = ([*part[key]] if key in part else [None] * len(values) for key in ("answers", "static"))
    ids = [str(i) for i in part["ids"]] if "ids" in part else [str(i) for i in range(len(values))]
    return [Trace(*parts) for parts in zip(times, values, *rest, ids, strict=True)]
