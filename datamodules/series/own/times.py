"""Times of a table: numbers, or dates in a unit that suits their gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from integrand.errors import UsageError

from .table import Floats, Table

Unit = Literal["auto", "s", "min", "h", "d"]
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_USUAL = 1e-3, 1e3  # gaps in which solvers and networks are at ease


def read_times(table: Table, column: str) -> tuple[Floats, bool]:
    """Times of a table, and whether they are dates, then in seconds since 1970.

    Raises:
        UsageError: One is missing, not finite, or neither number nor date.
    """
    dates = not (table.is_numeric(column) or _mostly_numbers(table, column))
    times = _seconds(table, column) if dates else table.numbers(column)
    if np.isnan(times).any():
        i = int(np.flatnonzero(np.isnan(times))[0])
        given = table.frame[column].iloc[i]
        said = "is missing" if _absent(given) else f"is {str(given)!r}, neither a number nor a date"
        raise UsageError(f"{table.row(i)}: the time in {column} {said}", "correct it, or leave the row out")
    return times, dates


def unit_of(gap: float) -> str:
    """The largest unit that is no longer than a gap in seconds."""
    return next((u for u in ("d", "h", "min") if gap >= SECONDS[u]), "s")


def median_gap(times: Sequence[Floats]) -> float:
    """Median over the gaps of all series, NaN where there are none."""
    gaps = [np.diff(t) for t in times if len(t) > 1]
    return float(np.median(np.concatenate(gaps))) if gaps else float("nan")


def scale_warning(source: str, gap: float) -> str:
    """A line about times whose gaps are very long or short, empty for usual ones."""
    if not np.isfinite(gap) or _USUAL[0] <= gap <= _USUAL[1]:
        return ""
    return (
        f"{source}: the median gap between observations is {gap:g}, far from 1, for which solvers and "
        f"networks are made → set data.time_scale to {gap:g}, or give times in another unit"
    )


def unlike(gaps: Floats) -> int | None:
    """The series whose gaps are 30 times longer or shorter than those of the others; None if there is none.

    Args:
        gaps: Median gap of each series, NaN where it has none; shape (n,).
    """
    known = gaps[np.isfinite(gaps)]
    if len(known) < 3:
        return None
    ratio = np.abs(np.log(gaps / np.median(known)))
    far = np.flatnonzero(ratio > np.log(30))
    return int(far[0]) if 0 < len(far) <= len(known) // 4 else None


def _seconds(table: Table, column: str) -> Floats:
    import pandas as pd

    stamps = pd.to_datetime(table.frame[column], errors="coerce", utc=True, format="ISO8601")
    nanoseconds = stamps.dt.as_unit("ns").astype("int64").to_numpy().astype(np.float64)
    return np.where(stamps.isna().to_numpy(), np.nan, nanoseconds * 1e-9)


def _mostly_numbers(table: Table, column: str) -> bool:
    """Whether one wrong cell makes text of a column of numbers."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(table.frame[column]):
        return False
    return bool(pd.to_numeric(table.frame[column], errors="coerce").notna().mean() > 0.5)


def _absent(value: object) -> bool:
    import pandas as pd

    return bool(pd.isna(value))
