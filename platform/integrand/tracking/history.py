"""The series of a run, kept short enough for its record."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ..record import RunRecord

MAX_POINTS = 500
# Values of a moment, which a later test or fit may state anew; all others are series that only grow.
_SINGLE = (
    "best/", "final/", "test/", "validate/", "solver/test_",
    "cost/parameters", "cost/fit_seconds", "cost/memory_growth_mb", "cost/flops_forward_per_sample",
)  # fmt: skip

Point = list[float]


class History:
    """Series by metric name; each point is `[step, epoch, seconds since start, value]`.

    A series that grows beyond twice `MAX_POINTS` loses every second point, so that memory stays bounded
    however long a run is. First and last points are kept.
    """

    def __init__(self, series: dict[str, list[Point]] | None = None) -> None:
        # JSON has no NaN: a record spells it null
        self._series: dict[str, list[Point]] = {
            name: [[math.nan if x is None else x for x in point] for point in points]
            for name, points in (series or {}).items()
        }
        self.last: dict[str, float] = {}
        self.floor: dict[str, int] = {}
        """The newest step of every series of a continued run."""
        self.max_step = max((int(points[-1][0]) for points in self._series.values() if points), default=0)

    @classmethod
    def of_run(cls, record: RunRecord, recorded: Mapping[str, Sequence[Any]], started: float) -> History:
        """What a run that is gone on with has already.

        Args:
            record: Its record, with series up to some moment.
            recorded: What the store has: points by metric name, with `step`, `timestamp` in milliseconds and
                `value`.
            started: Start of the run, seconds since the epoch.
        """
        history = cls(record.history)
        series = {name: points for name, points in recorded.items() if points and not is_single(name)}
        history.complete(series, started)
        newest = {
            name: max(points, key=lambda p: (p.step, p.timestamp))
            for name, points in recorded.items()
            if points
        }
        history.floor = {name: newest[name].step for name in series}
        # MLflow calls the value of the highest step the latest: no later value may lie below one of these
        history.max_step = max([history.max_step, *(point.step for point in newest.values())])
        single = {name: point.value for name, point in newest.items() if is_single(name)}
        history.last = {**record.metrics, **single, **history.last}
        return history

    def add(self, name: str, step: int, epoch: int, seconds: float, value: float) -> None:
        """Append one point."""
        self.last[name] = value
        self.max_step = max(self.max_step, step)
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = []
        series.append([step, epoch, round(seconds, 3), value])
        if len(series) > 2 * MAX_POINTS:
            series[1:-1] = series[2:-1:2]

    def complete(self, recorded: Mapping[str, Sequence[Any]], started: float) -> None:
        """Take up points that the store has and this history lacks: a killed process wrote no record.

        Args:
            recorded: Points by metric name, with `step`, `timestamp` in milliseconds and `value`.
            started: Start of the run, seconds since the epoch.
        """
        # one point of this series ends every epoch
        ends = sorted({p.step for p in recorded.get("cost/epoch_seconds", ())})
        for name, points in recorded.items():
            known = self.series(name)
            newest = known[-1][0] if known else -1
            for point in sorted(points, key=lambda p: (p.step, p.timestamp)):
                if point.step > newest:
                    epoch = bisect_left(ends, point.step)
                    self.add(name, point.step, epoch, point.timestamp / 1000 - started, point.value)

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run at the newest point of any series."""
        return max((points[-1][2] for points in self._series.values() if points), default=0.0)

    def series(self, name: str) -> list[Point]:
        """The points of one series, empty where there is none."""
        return self._series.get(name, [])

    def thinned(self) -> dict[str, list[Point]]:
        """Every series with at most `MAX_POINTS` points, evenly chosen, ends included."""
        return {name: _thin(points) for name, points in self._series.items()}


def is_single(name: str) -> bool:
    """Whether a metric is a value of a moment rather than a point of a series."""
    return name.startswith(_SINGLE)


def _thin(points: list[Point]) -> list[Point]:
    if len(points) <= MAX_POINTS:
        return points
    stride = (len(points) - 1) / (MAX_POINTS - 1)
    return [points[round(i * stride)] for i in range(MAX_POINTS)]
