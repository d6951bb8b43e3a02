"""The split of the user's own series: as they say, else by id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from integrand.errors import UsageError

from ...images.split import stratified
from ..recording import Recording
from .rows import PARTS, OwnSeries

Parts = dict[str, list[Recording]]


def by_name(series: Sequence[OwnSeries]) -> Parts | None:
    """The parts that the tables name; None where they name none.

    Raises:
        UsageError: A part has no series, or a class is not in training.
    """
    if not any(one.part for one in series):
        return None
    parts: dict[str, list[OwnSeries]] = {part: [one for one in series if one.part == part] for part in PARTS}
    for part, members in parts.items():
        if not members:
            raise UsageError(
                f"{series[0].row}: no series is in {part}",
                "give each of train, val and test a series, or rename the split column to have them split",
            )
    return _checked(parts)


def by_share(series: Sequence[OwnSeries], shares: tuple[float, float], seed: int) -> Parts | None:
    """Parts of whole series, each class keeping its share; None where there are fewer than three.

    Raises:
        UsageError: A class is not in training.
    """
    if len(series) < len(PARTS):
        return None
    classes = np.unique([one.label for one in series], return_inverse=True)[1]
    n_val, n_test = (max(1, round(share * len(series))) for share in shares)
    rest, test = stratified(classes, n_test, seed)
    train, val = stratified(classes[rest], n_val, seed + 1)
    rows = {"train": rest[train], "val": rest[val], "test": test}
    return _checked({part: [series[i] for i in rows[part]] for part in PARTS})


def _checked(parts: dict[str, list[OwnSeries]]) -> Parts:
    known = {one.label for one in parts["train"]}
    for part in ("val", "test"):
        unknown = next((one for one in parts[part] if one.label not in known), None)
        if unknown is not None:
            raise UsageError(
                f"{unknown.row}: no series of class {unknown.label!r} is in training",
                "give more series of it, or leave it out",
            )
    return {part: [one.recording for one in members] for part, members in parts.items()}
