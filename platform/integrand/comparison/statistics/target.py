"""Time to a target quality, with runs that never reach it as right-censored ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from integrand.errors import UsageError
from integrand.record import RunRecord

from ..measures import Metric
from ..records.groups import Group
from ..records.traces import EPOCH, SECONDS, TOTALS, VALUE, Series, Traces
from ..results import Reach, RunReach, Target


def choose_target(
    groups: Sequence[Group], metric: Metric, series: str, traces: Traces, wanted: float | None = None
) -> Target | None:
    """The quality whose time is measured, on the validation series.

    Where nobody names one it is the median over the groups of their median best value: about half of the
    groups reach it, so that the times differ and say something. What all groups reach, the first epoch may
    have reached already; what only the best reaches, says nothing about the others.

    Args:
        groups: The groups of one data set.
        metric: The quality, which has the direction and scale of the series.
        series: Name of the validation series.
        traces: The series.
        wanted: The reader's target in the metric's own unit; None chooses.

    Returns:
        None where no run recorded the series.

    Raises:
        UsageError: The target of a fraction is not between 0 and 1.
    """
    if wanted is not None and metric.percent and not 0 <= wanted <= 1:
        raise UsageError(f"--target {wanted:g} is no fraction", f"write {wanted:g} % as {wanted / 100:g}")
    medians = _median_bests(groups, metric, series, traces)
    if not medians:
        return None
    if wanted is not None:
        return Target(wanted, series, True, "named by the reader")
    return Target(
        _rounded(statistics.median(medians), metric.mode == "max"),
        series,
        False,
        "the median over the groups of their median best value",
    )


def _median_bests(groups: Sequence[Group], metric: Metric, series: str, traces: Traces) -> list[float]:
    """The median best value of every group that recorded the series."""
    best = max if metric.mode == "max" else min
    medians = []
    for group in groups:
        found = [traces.series(run.run_id, series) for run in group.runs]
        values = [best(s[:, VALUE].tolist()) for s in found if s is not None]
        if values:
            medians.append(statistics.median(values))
    return medians


def reach(group: Group, target: Target, metric: Metric, traces: Traces) -> Reach | None:
    """How a group got to the target; None where none of its runs recorded the series."""
    runs = []
    for run in group.runs:
        series = traces.series(run.run_id, target.series)
        if series is not None:
            runs.append(_run_reach(run, series, target, metric, traces))
    if not runs:
        return None
    seen = [r.reached for r in runs]
    evaluations = [r.evaluations for r in runs]
    return Reach(
        tuple(runs),
        sum(seen),
        time_of_half([r.seconds for r in runs], seen),
        None if None in evaluations else time_of_half([e for e in evaluations if e is not None], seen),
        time_of_half([r.epoch for r in runs], seen),
    )


def time_of_half(times: Sequence[float], reached: Sequence[bool]) -> float | None:
    """The time by which at least half of all runs had reached the target.

    It is the median with the runs that never reached it as the slowest of all, whenever they ended. The
    Kaplan-Meier median is the same where all runs end together, but takes a run that ended early out of the
    count as if it might well have been fast: of three runs, two that give up at 100 and 110 and one that
    arrives at 120, it makes a median of 120.

    Args:
        times: Time at which each run reached the target; any number for one that did not.
        reached: Whether it did.

    Returns:
        None where fewer than half reached it.
    """
    arrived = sorted(t for t, r in zip(times, reached, strict=True) if r)
    half = (len(times) + 1) // 2
    return arrived[half - 1] if len(arrived) >= half else None


def _run_reach(run: RunRecord, series: Series, target: Target, metric: Metric, traces: Traces) -> RunReach:
    """The first validation at or beyond the target, or the last of all."""
    values = series[:, VALUE]
    hits = np.flatnonzero(values >= target.value if metric.mode == "max" else values <= target.value)
    at = series[int(hits[0]) if len(hits) else -1]
    return RunReach(
        run.run_id,
        run.seed,
        bool(len(hits)),
        float(at[EPOCH]),
        float(at[SECONDS]),
        _evaluations(run, float(at[EPOCH]), traces),
    )


def _evaluations(run: RunRecord, epoch: float, traces: Traces) -> float | None:
    """Evaluations of the field, forward and backward, up to the end of an epoch."""
    total = 0.0
    for name in TOTALS:
        series = traces.series(run.run_id, name)
        if series is None:
            return None
        # a thinned series may lack the epoch itself; totals grow evenly enough in between
        total += float(np.interp(epoch, series[:, EPOCH], series[:, VALUE]))
    return total


def _rounded(value: float, down: bool) -> float:
    """Four significant digits, on the side that is easier to reach."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
    steps = value / unit
    # 0.8333 / 0.0001 may be 8332.999…: a multiple stays what it is
    near = round(steps)
    whole = (
        near if math.isclose(steps, near, rel_tol=1e-9) else math.floor(steps) if down else math.ceil(steps)
    )
    return float(f"{whole * unit:.4g}")
