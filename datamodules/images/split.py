"""A held-out part that is the same on every machine. Torch-free."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def stratified(labels: npt.NDArray[np.integer], size: int, seed: int) -> tuple[Rows, Rows]:
    """Split rows so that each class keeps its share in both parts.

    The random keys are PCG64's raw stream, which numpy promises to keep (NEP 19), unlike `permutation`.

    Args:
        labels: Class of each row, shape (N,).
        size: Number of rows in the second part, 0…N.
        seed: Seed of the choice.

    Returns:
        Rows of the first and of the second part, each ascending.
    """
    keys = np.random.PCG64(seed).random_raw(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * (size / max(1, len(labels)))
    take = np.floor(shares).astype(np.int64)
    # the largest remainders get what rounding left over
    for spot in np.argsort(take - shares, kind="stable")[: size - int(take.sum())]:
        take[spot] += 1
    held = np.zeros(len(labels), dtype=bool)
    for label, n in zip(classes, take, strict=True):
        rows = np.flatnonzero(labels == label)
        held[rows[np.argsort(keys[rows], kind="stable")[:n]]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
