"""Writes what `integrand predict` predicted."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from torch import Tensor

from ..errors import SpecError


def to_csv(batches: Sequence[Tensor], class_names: Sequence[str]) -> str:
    """Class probabilities as CSV: one row per sample, in the order of the test set.

    Args:
        batches: Probabilities, each of shape (batch, num_classes).
        class_names: Name of each class, or none.

    Returns:
        Columns index, predicted class, its name, and the probability of every class.

    Raises:
        SpecError: A batch is not a matrix of probabilities.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    index = 0
    for batch in batches:
        if batch.ndim != 2:
            raise SpecError(f"predictions of shape {tuple(batch.shape)}, expected (batch, classes)")
        names = list(class_names) or [str(i) for i in range(batch.shape[1])]
        if index == 0:
            writer.writerow(["index", "predicted", "name", *(f"p({name})" for name in names)])
        for row in batch.tolist():
            best = max(range(len(row)), key=row.__getitem__)
            writer.writerow([index, best, names[best], *(f"{p:.6g}" for p in row)])
            index += 1
    return text.getvalue()
