"""The unit of time that a family reckons in."""

from __future__ import annotations

from integrand.errors import UsageError


def time_unit(default: float, unit: float | None) -> float:
    """The unit of time given, or the default.

    Raises:
        UsageError: It is not positive.
    """
    if unit is not None and not unit > 0:
        raise UsageError(f"a unit of time of {unit}", "set model.unit to a positive time")
    return default if unit is None else unit
