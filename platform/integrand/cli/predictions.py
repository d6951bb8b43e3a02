"""Writes what `integrand predict` predicted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from ..cells import cell
from ..outcome import Outcome
from ..tasks.base import Task


def to_csv(task: Task, outcomes: Iterable[Outcome], ids: Sequence[str] = ()) -> str:
    """Predictions as CSV: the rows of each sample, in the order of the test set.

    Args:
        task: Knows the columns.
        outcomes: What the network said of each batch, as users want it.
        ids: What each sample is called; empty where they have no names.

    Returns:
        The columns index, id where there are names, and those of the task.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", *(["id"] if ids else []), *map(cell, task.columns())])
    index = 0
    for outcome in outcomes:
        for sample, row in task.rows(outcome):
            name = [cell(ids[index + sample])] if ids else []
            writer.writerow([index + sample, *name, *map(cell, row)])
        index += outcome.size
    return text.getvalue()
