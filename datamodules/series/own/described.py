"""What the user's own series are, as a spec: scales, gaps, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from integrand.errors import UsageError
from integrand.spec import Forecast, Question, SeriesSpec, Targets

from ..recording import Recording, left
from .parts import Parts
from .roles import Roles
from .table import Floats, Table
from .times import median_gap

_LONGEST = 20  # observations given, unless the user wants more


def given_of(judged: Sequence[Recording], context: int | None, drop: float) -> int:
    """Observations given: as the user wants, else half of the shortest series; see `windows`."""
    return context or max(1, min(_LONGEST, min(left(len(r), drop) for r in judged) // 2))


def windows(
    judged: Sequence[Recording], parts: Parts, context: int | None, horizon: int | None, drop: float
) -> Forecast:
    """Observations given and asked for: as the user wants, else half of the shortest series.

    Args:
        judged: The series whose length decides.
        parts: Where what is asked for has to exist, unless the user wants it.
        context: Observations given, if the user says so.
        horizon: Observations asked for, likewise.
        drop: Share of the observations that will be left out.
    """
    given = given_of(judged, context, drop)
    rest = min(max(left(len(r), drop) for r in part) for part in parts.values()) - given
    return Forecast(given, horizon or max(1, min(given, rest)))


def check_channels(tables: Sequence[Table], roles: Roles, train: Sequence[Recording]) -> None:
    """Every channel needs two values in training.

    Raises:
        UsageError: One is empty or constant.
    """
    seen = np.concatenate([r.values for r in train])
    for column, values in zip(roles.channels, seen.T, strict=True):
        known = values[~np.isnan(values)]
        if not _varies(known):
            everywhere = np.concatenate([t.numbers(column) for t in tables])
            part = " in the training part" if _varies(everywhere[~np.isnan(everywhere)]) else ""
            what = f"holds nothing but {known[0]:g}" if len(known) else "is empty"
            rows = f"{tables[0].row(0)} to {tables[-1].row(len(tables[-1]) - 1)}"
            raise UsageError(
                f"{rows}: channel {column!r} {what}{part}",
                "leave it out: set data.channels to the others",
            )


def _varies(values: Floats) -> bool:
    return bool(len(values) and np.ptp(values) > 1e-12 * np.abs(values).max())


def described(name: str, roles: Roles, asked: Question, parts: Parts, autonomous: bool) -> SeriesSpec:
    """The spec of checked series; channels and targets are scaled by the training part."""
    everything = [r for recordings in parts.values() for r in recordings]
    seen = np.concatenate([r.values for r in parts["train"]])
    if isinstance(asked, Targets):
        targets = np.stack([np.asarray(r.answer) for r in parts["train"]])
        spread = targets.std(axis=0)
        asked = replace(
            asked,
            scales=tuple(np.where(spread > 0, spread, 1.0).tolist()),
            shifts=tuple(targets.mean(axis=0).tolist()),
        )
    step = median_gap([r.times for r in everything])
    gaps = np.concatenate([np.diff(r.times) for r in everything])
    return SeriesSpec(
        name,
        asked,
        channels=len(roles.channels),
        length=max(len(r) for r in everything),
        irregular=bool(len(gaps) and np.ptp(gaps) > 1e-6 * step),
        missing=any(np.isnan(r.values).any() for r in everything),
        autonomous=autonomous,
        static=len(roles.static),
        names=roles.channels,
        scales=tuple(np.nanstd(seen, axis=0).tolist()),
        shifts=tuple(np.nanmean(seen, axis=0).tolist()),
        step=step if np.isfinite(step) and step > 0 else 1.0,
    )
