"""All series of the user's tables: checked together, split, and summed up in a spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from integrand.errors import UsageError
from integrand.spec import Classes, Forecast, Question, SeriesSpec, Targets

from ...own.answers import natural
from ..cut import cut_in_time
from ..recording import Recording
from .described import check_channels, described, given_of, windows
from .parts import Parts, by_name, by_share
from .roles import Roles, choose
from .rows import OwnSeries, read_series, refuse_mixed
from .table import Table
from .times import SECONDS, Unit, median_gap, scale_warning, unit_of, unlike


@dataclass(frozen=True)
class Options:
    """What the user wants; see `OwnSeriesDataModule`."""

    columns: Roles = field(default_factory=Roles)
    time_unit: Unit = "auto"
    time_scale: float = 1.0
    autonomous: bool = True
    sort: bool = False
    min_length: int = 2
    context: int | None = None
    horizon: int | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.2
    split_seed: int = 0
    within: bool = False
    drop: float = 0.0

    def __post_init__(self) -> None:
        shares = self.val_fraction, self.test_fraction
        if min(shares) <= 0 or sum(shares) >= 1:
            raise UsageError(
                f"val_fraction={shares[0]} and test_fraction={shares[1]} do not split series",
                "give positive shares that sum to less than 1",
            )
        if not 0 < self.time_scale < np.inf:
            raise UsageError(f"time_scale={self.time_scale} is no unit", "give a positive number")


@dataclass(frozen=True)
class Collection:
    """Series in their splits.

    Args:
        spec: What a model takes from them.
        parts: `train`, `val` and `test`, in raw units, times in units of a batch.
        said: Lines for the user: what was guessed, and what looks odd.
        roles: The part of each column.
        unit: The unit of times that were read from dates, else empty.
        start: The time, as it stands in the table, that is 0 where the law depends on the time.
    """

    spec: SeriesSpec
    parts: dict[str, list[Recording]]
    said: list[str]
    roles: Roles
    unit: str
    start: float


def collect(name: str, tables: Sequence[Table], options: Options) -> Collection:
    """Read, check and split the series of some tables.

    Args:
        name: Name of the data set.
        tables: The tables; the first one decides what each column is.
        options: What the user wants.

    Raises:
        UsageError: Something cannot be right; file, row and remedy are named.
    """
    roles, guessed = choose(tables[0], options.columns)
    for table in tables[1:]:
        choose(table, roles)
    series = [one for table in tables for one in read_series(table, roles, options.sort)]
    refuse_mixed(series)
    check_lengths(series, options.min_length)
    start = first_time(series)
    series, unit = with_units(series, options, start)
    said = [guessed + (f"; data.time_unit: {unit}" if unit else "")] if guessed or unit else []
    said += oddities(tables[0].source, series)
    asked, answered = _answers(roles, series)
    parts = by_name(answered) or by_share(
        answered, (options.val_fraction, options.test_fraction), options.split_seed
    )
    if parts is None:
        parts = _cut(answered, asked, options)
        said.append(f"{tables[0].source}: fewer than three series, so each is cut in time")
    check_channels(tables, roles, parts["train"])
    if isinstance(asked, Forecast):
        judged = [r for part in parts.values() for r in part] if options.within else parts["train"]
        asked = windows(judged, parts, options.context, options.horizon, options.drop)
    spec = described(name, roles, asked, parts, options.autonomous)
    return Collection(spec, parts, said, roles, unit, start)


def check_lengths(series: Sequence[OwnSeries], least: int) -> None:
    """Refuse a series that is too short.

    Raises:
        UsageError: There is one; its first row is named.
    """
    for one in series:
        if (n := len(one.recording)) < least:
            raise UsageError(
                f"{one.row}: series {one.recording.name!r} has fewer observations than {least}: {n}",
                f"leave it out, or set data.min_length to {n}",
            )


def first_time(series: Sequence[OwnSeries]) -> float:
    """The time from which dates count; numbers count from 0."""
    dates = any(one.dates for one in series)
    return float(min(one.recording.times[0] for one in series)) if dates else 0.0


def with_units(series: Sequence[OwnSeries], options: Options, start: float) -> tuple[list[OwnSeries], str]:
    """Times in units of a batch, from 0 where only gaps matter; and the unit chosen for dates."""
    dates = any(one.dates for one in series)
    chosen = ""
    scale = options.time_scale
    if dates:
        gap = median_gap([one.recording.times for one in series])
        chosen = unit_of(gap) if options.time_unit == "auto" else options.time_unit
        scale *= SECONDS[chosen]
    moved = []
    for one in series:
        begin = one.recording.times[0] if options.autonomous else start
        times = (one.recording.times - begin) / scale
        moved.append(replace(one, recording=replace(one.recording, times=times)))
    return moved, chosen


def oddities(source: str, series: Sequence[OwnSeries]) -> list[str]:
    """What looks like times in wrong units."""
    times = [one.recording.times for one in series]
    overall = median_gap(times)
    said = [line for line in [scale_warning(source, overall)] if line]
    blank = [one for one in series if np.isnan(one.recording.values).all()]
    if blank:
        said.append(
            f"{blank[0].row}: series {blank[0].recording.name!r} holds no value"
            + (f", nor do {len(blank) - 1} others" if len(blank) > 1 else "")
            + " → leave it out, unless it says that nothing happened"
        )
    gaps = np.array([median_gap([t]) for t in times])
    if (i := unlike(gaps)) is not None:
        said.append(
            f"{series[i].row}: the gaps of series {series[i].recording.name!r} are {gaps[i]:g}, those of the "
            f"others {np.nanmedian(gaps):g} → are its times in other units?"
        )
    return said


def _answers(roles: Roles, series: Sequence[OwnSeries]) -> tuple[Question, list[OwnSeries]]:
    """The question, and series that hold their answers."""
    if roles.targets:
        return Targets(roles.targets), list(series)
    if not roles.label:
        return Forecast(), list(series)
    names = sorted({one.label for one in series}, key=natural)
    if len(names) < 2:
        raise UsageError(
            f"{series[0].row}: every series has the {roles.label} {names[0]!r}",
            "give series of two classes or more, or leave the column out: rename it",
        )
    numbered = [
        replace(one, recording=replace(one.recording, answer=names.index(one.label))) for one in series
    ]
    return Classes(len(names), tuple(names)), numbered


def _cut(series: Sequence[OwnSeries], asked: Question, options: Options) -> Parts:
    """Few series, each cut in time."""
    if not isinstance(asked, Forecast):
        raise UsageError(
            f"{series[0].row}: {len(series)} series cannot be split for a question about whole series",
            "give three or more, or name their column: set data.id_column",
        )
    recordings = [one.recording for one in series]
    shares = options.val_fraction, options.test_fraction
    first = [r[: round((1 - sum(shares)) * len(r))] for r in recordings]
    # in interpolation what is asked for may stand among the first of a window
    given = 0 if options.within else given_of(first, options.context, options.drop)
    cuts = [cut_in_time(r, given, shares) for r in recordings]
    return {part: [cut[part] for cut in cuts] for part in cuts[0]}
