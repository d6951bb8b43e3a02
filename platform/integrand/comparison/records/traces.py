"""The series of many runs, kept small: what curves and the time to a target need, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from integrand.record import RunRecord

EPOCH, SECONDS, VALUE = 0, 1, 2
"""Columns of a series; epochs count from 1, seconds from the start of the run."""
MAX_POINTS = 60
"""Points kept of a series that is only drawn. Validations are kept whole: the first that reaches a target
counts."""

TRAIN_LOSS = "train/loss"
NFE_FORWARD = "solver/nfe_forward"
NFE_BACKWARD = "solver/nfe_backward"
TOTALS = ("solver/nfe_forward_total", "solver/nfe_backward_total")
_KEPT = {TRAIN_LOSS, NFE_FORWARD, NFE_BACKWARD, *TOTALS}

Series = NDArray[np.float64]


class Traces:
    """Series by run id and metric name; each is an array (points, 3) of epoch, seconds and value.

    1,000 runs of 500 validations take 12 MB per series, where the lists of the records take 200 MB.
    """

    def __init__(self) -> None:
        self._series: dict[str, dict[str, Series]] = {}

    @classmethod
    def of(cls, records: Iterable[RunRecord]) -> Traces:
        """The traces of records that still hold their history."""
        traces = cls()
        for record in records:
            traces.keep(record)
        return traces

    def keep(self, record: RunRecord) -> None:
        """Take up what is needed of a record's history."""
        kept = {name: _array(points, name) for name, points in record.history.items() if _is_kept(name)}
        if kept := {name: series for name, series in kept.items() if len(series)}:
            self._series[record.run_id] = kept

    def series(self, run_id: str, name: str) -> Series | None:
        """One series of a run, in order of time; None where it was not recorded."""
        return self._series.get(run_id, {}).get(name)

    def of_run(self, run_id: str) -> Mapping[str, Series]:
        """All kept series of a run."""
        return self._series.get(run_id, {})


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith("val/")


def _array(points: list[list[Any]], name: str) -> Series:
    """The finite points as an array; a null in a record was NaN."""
    if not name.startswith("val/") and len(points) > MAX_POINTS:
        stride = (len(points) - 1) / (MAX_POINTS - 1)
        points = [points[round(i * stride)] for i in range(MAX_POINTS)]
    if not points:
        return np.empty((0, 3))
    found = np.array(points, dtype=np.float64)[:, 1:4]
    found[:, EPOCH] += 1
    return found[np.isfinite(found[:, VALUE])]
