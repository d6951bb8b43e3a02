"""Writes what `integrand predict` predicted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from ..cells import cell
from ..outcome import Outcome
from ..tasks.base import Task


def to_csv(task: Task, outcomes: Iterable[Outcome]) -> str:
    """Predictions as CSV: the rows of each sample, in the order of the test set.

    Args:
        task: Knows the columns.
        outcomes: What the network said of each batch, as users want it.

    Returns:
        The columns index and those of the task.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", *map(cell, task.columns())])
    index = 0
    for outcome in outcomes:
        for sample, row in task.rows(outcome):
            writer.writerow([index + sample, *map(cell, row)])
        index += outcome.size
    return text.getvalue()
