"""Numbers as people read them."""

from __future__ import annotations

import math
from dataclasses import replace

from ..statistics.estimates import Estimate, Interval
from ..statistics.probability import Improvement

MISSING = "–"


def quality(value: Estimate, scale: float = 1.0) -> str:
    """`83.1 ± 1.2`: the half width of the interval to two digits, the mean to the same place."""
    half = value.half_width
    # without an interval to go by: hundredths of a per cent, four digits of anything else
    plain = 2 if scale == 100 else _decimals(scale * value.mean, 4)
    if half is None:
        return f"{scale * value.mean:.{plain}f}"
    places = _decimals(scale * half, 2) if half else plain
    return f"{scale * value.mean:.{places}f} ± {scale * half:.{places}f}"


def value(number: float, beside: Estimate, scale: float = 1.0) -> str:
    """Another statistic of the same values, to the digits of the mean."""
    return quality(replace(beside, mean=number), scale).partition(" ±")[0]


def difference(value: Estimate, scale: float = 1.0) -> str:
    """`quality` with a sign."""
    text = quality(value, scale)
    return text if text.startswith("-") else f"+{text}"


def probability(value: Improvement) -> str:
    """`0.83 [0.45, 0.97]`."""
    return f"{value.probability:.2f} [{value.low:.2f}, {value.high:.2f}]"


def times(value: float) -> str:
    """`2.3×`, `12×`, `0.45×`."""
    return f"{value:.{0 if value >= 10 else 1 if value >= 1 else 2}f}×"


def interval(value: Interval | None, scale: float = 1.0) -> str:
    """`[82.1, 84.0]`, to the digits that its width supports."""
    if value is None:
        return MISSING
    places = _decimals(scale * (value.high - value.low) / 2, 2) if value.high > value.low else 2
    return f"[{scale * value.low:.{places}f}, {scale * value.high:.{places}f}]"


def duration(seconds: float | None) -> str:
    """`48 s`, `12.5 min`, `3.2 h`."""
    if seconds is None:
        return MISSING
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def p_value(p: float | None) -> str:
    """A p value to two significant digits."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:#.2g}"


def cost(key: str, value: Estimate | None) -> str:
    """A cost in the unit of its heading."""
    if value is None:
        return MISSING
    if key == "peak_memory_mb":
        return memory(value.mean)
    if key == "parameters":
        return f"{value.mean:,.0f}"
    return number(value.mean)


def number(value: float) -> str:
    """Three significant digits, whole numbers as such."""
    if value == 0 or (value == round(value) and abs(value) < 1e6):
        return f"{value:,.0f}"
    return f"{value:,.{_decimals(value, 3)}f}"


def memory(size: float) -> str:
    """MiB, from 1024 on in GiB."""
    return f"{size / 1024:.2f} GiB" if size >= 1024 else f"{size:.0f} MiB"


def _decimals(value: float, digits: int) -> int:
    """Decimal places that show `digits` significant digits of `value`, at most 6."""
    if value == 0:
        return 0
    return min(6, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
