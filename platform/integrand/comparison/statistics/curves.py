"""Quantities over training, over the seeds of a group: quality, loss and evaluations."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from integrand.record import RunRecord

from ..measures import number
from ..records.groups import Group
from ..records.traces import EPOCH, MAX_POINTS, NFE_BACKWARD, NFE_FORWARD, TRAIN_LOSS, VALUE, Series, Traces
from ..results import Curve
from .estimates import LEVEL


def curves(group: Group, traces: Traces, quality: str) -> dict[str, Curve]:
    """The curves of a group by key; only those that some run recorded.

    Args:
        group: The group.
        traces: The series.
        quality: Name of the series of the quality, such as `val/acc`.
    """
    wanted = {
        "quality": quality,
        "train_loss": TRAIN_LOSS,
        "nfe_forward": NFE_FORWARD,
        "nfe_backward": NFE_BACKWARD,
    }
    found = {key: _curve(key, name, group.runs, traces) for key, name in wanted.items() if name}
    return {key: curve for key, curve in found.items() if curve is not None}


def _curve(key: str, name: str, runs: Sequence[RunRecord], traces: Traces) -> Curve | None:
    """One curve: the last value of each epoch, by run, and their mean with pointwise Student t intervals."""
    recorded = [(run, series) for run in runs if (series := traces.series(run.run_id, name)) is not None]
    if not recorded:
        return None
    by_run = [_by_epoch(series) for _, series in recorded]
    every, counts = np.unique(np.concatenate([epochs for epochs, _ in by_run]), return_counts=True)
    shown = every[counts >= min(2, len(recorded))]
    if not len(shown):
        return None
    if len(shown) > MAX_POINTS:
        shown = shown[np.round(np.linspace(0, len(shown) - 1, MAX_POINTS)).astype(int)]
    table = np.full((len(recorded), len(shown)), np.nan)
    for row, (epochs, values) in zip(table, by_run, strict=True):
        place = np.searchsorted(shown, epochs)
        hit = place < len(shown)
        hit[hit] = shown[place[hit]] == epochs[hit]
        row[place[hit]] = values[hit]
    mean, low, high = _band(table)
    return Curve(
        key,
        name,
        tuple(map(float, shown)),
        tuple(map(float, mean)),
        low,
        high,
        {
            _seed_name(run): tuple(map(number, row.tolist()))
            for (run, _), row in zip(recorded, table, strict=True)
        },
        f"mean over seeds, Student t at each epoch, {100 * LEVEL:g} %",
    )


def _by_epoch(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs and the last value of each."""
    epochs, from_the_end = np.unique(series[::-1, EPOCH], return_index=True)
    return epochs, series[::-1, VALUE][from_the_end]


def _band(
    table: NDArray[np.float64],
) -> tuple[NDArray[np.float64], tuple[float | None, ...], tuple[float | None, ...]]:
    """Mean over the runs that have a value, and its interval where there are two."""
    n = np.sum(np.isfinite(table), axis=0)
    mean = np.nanmean(table, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one run has no spread: NaN, which becomes None
        error = np.nanstd(table, axis=0, ddof=1) / np.sqrt(n)
    half = special.stdtrit(np.maximum(n - 1, 1), (1 + LEVEL) / 2) * error
    low, high = (tuple(map(number, (mean + sign * half).tolist())) for sign in (-1, 1))
    return mean, low, high


def _seed_name(run: RunRecord) -> str:
    """What a run is called within its group."""
    return run.run_id[:8] if run.seed is None else str(run.seed)
