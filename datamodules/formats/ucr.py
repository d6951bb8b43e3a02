"""The UCR archive's tables (Dau et al. 2019): one series in a line, its label first, tabs between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from .packed import Arrays, counted, pack

Member = Callable[[str], bytes]
SPLITS = {"train": "TRAIN", "test": "TEST"}


def members(name: str) -> tuple[str, ...]:
    """The files of the set of that name."""
    return tuple(f"{name}_{end}.tsv" for end in SPLITS.values())


def reader(name: str) -> Callable[[Member], Arrays]:
    """A reader of the set of that name."""

    def read(member: Member) -> Arrays:
        tables = {s: parse(member(f), f) for s, f in zip(SPLITS, members(name), strict=True)}
        labels = np.unique(tables["train"][:, 0])
        arrays: Arrays = {}
        for split, table in tables.items():
            if not np.isin(table[:, 0], labels).all():
                raise DataError(f"{name}: a label of {split} is not in train", _AGAIN)
            numbers = np.searchsorted(labels, table[:, 0])
            rows = [_without_end(row) for row in table[:, 1:]]
            arrays |= pack(split, [counted(x[:, None], int(n)) for x, n in zip(rows, numbers, strict=True)])
        return arrays

    return read


def parse(data: bytes, where: str) -> npt.NDArray[np.float64]:
    """The table of one file.

    Raises:
        DataError: It is no table of numbers.
    """
    try:
        lines = data.decode("ascii").splitlines()
        return np.array([line.split("\t") for line in lines if line], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where} is no table of the UCR archive: {error}", _AGAIN) from error


def _without_end(row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """NaN at the end pads a shorter series; before it, NaN is a missing value."""
    seen = np.flatnonzero(~np.isnan(row))
    return row[: seen[-1] + 1] if len(seen) else row[:1]


_AGAIN = "delete it and fetch it again"
