"""Numbers as people read them."""

from __future__ import annotations

import math

from .statistics import Estimate

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


def difference(value: Estimate, scale: float = 1.0) -> str:
    """`quality` with a sign."""
    text = quality(value, scale)
    return text if text.startswith("-") else f"+{text}"


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
