"""The columns of a table as numbers: scaled, one-hot by name, missing values marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError

from ..series.own.table import Table
from .answers import Rows, listed, natural

Floats = npt.NDArray[np.float64]
Column = Mapping[str, Any]
"""`{"name", "mean", "std", "missing"}` of numbers, `{"name", "values"}` of words."""

MOST = 100
"""Different words of a column; more are names or free text."""
MISSING = "(missing)"


def describe(table: Table, names: Sequence[str], train: Rows) -> tuple[list[dict[str, Any]], list[str]]:
    """What becomes of each column, by the training rows, and lines for the user.

    Args:
        table: The table.
        names: The columns of the inputs.
        train: Training rows.

    Raises:
        UsageError: No column is left.
    """
    found: list[dict[str, Any]] = []
    said: list[str] = []
    constant: list[str] = []
    for name in names:
        one = _numbers(table, name, train) if _is_numeric(table, name) else _words(table, name, train)
        if one is None:
            constant.append(name)
        else:
            found.append(one)
    if constant:
        said.append(f"{table.source}: {listed(constant)} has one value in training and is left out")
    if not found:
        raise UsageError(f"{table.source}: no column is left for the inputs", "set data.columns")
    said += _about(table, found)
    return found, said


def encode(table: Table, columns: Sequence[Column]) -> tuple[Floats, list[str]]:
    """The inputs, shape (rows, size), scaled, and lines about words that training did not have.

    Raises:
        UsageError: A column is not there or holds something else than in training.
    """
    absent = [str(c["name"]) for c in columns if c["name"] not in table.columns]
    if absent:
        raise UsageError(
            f"{table.source} lacks the columns {listed(absent)}", f"it has {listed(table.columns)}"
        )
    parts, said = [], []
    for column in columns:
        name = str(column["name"])
        if "values" in column:
            part, unknown = _one_hot(table.words(name), list(column["values"]))
            if unknown:
                said.append(
                    f"{table.source}: {name} is {listed(unknown)}, which training did not have: all 0"
                )
        else:
            part = _scaled(table.numbers(name), column)
        parts.append(part)
    return np.concatenate(parts, axis=1), said


def features(columns: Sequence[Column]) -> list[str]:
    """The name of each number of an input: `age`, `age missing`, `colour=red`."""
    names = []
    for column in columns:
        name = str(column["name"])
        if "values" in column:
            names += [f"{name}={value or MISSING}" for value in column["values"]]
        else:
            names += [name, f"{name} missing"] if column["missing"] else [name]
    return names


def _is_numeric(table: Table, name: str) -> bool:
    import pandas as pd

    return table.is_numeric(name) and not pd.api.types.is_bool_dtype(table.frame[name])


def _numbers(table: Table, name: str, train: Rows) -> dict[str, Any] | None:
    values = table.numbers(name)
    seen = values[train]
    known = seen[~np.isnan(seen)]
    if not len(known) or not np.ptp(known) > 1e-12 * np.abs(known).max():
        return None
    # mark what is missing, also where training happens to have all of it
    missing = bool(np.isnan(values).any())
    return {"name": name, "mean": float(known.mean()), "std": float(known.std()), "missing": missing}


def _scaled(values: Floats, column: Column) -> Floats:
    """Zero mean and unit deviation in training; the mean where nothing stands, beside a mark."""
    absent = np.isnan(values)
    scaled = np.where(absent, 0.0, (values - column["mean"]) / column["std"])
    return np.stack([scaled, absent], axis=1) if column["missing"] else scaled[:, None]


def _words(table: Table, name: str, train: Rows) -> dict[str, Any] | None:
    words = table.words(name)
    values = sorted({words[i] for i in train}, key=natural)
    if len(values) > MOST:
        raise UsageError(
            f"{table.source}: column {name} has {len(values)} different words",
            f"leave it out: set data.columns; or name samples by it: data.id_column {name}",
        )
    return {"name": name, "values": values} if len(values) > 1 else None


def _one_hot(words: Sequence[str], values: Sequence[str]) -> tuple[Floats, list[str]]:
    place = {value: i for i, value in enumerate(values)}
    hot = np.zeros((len(words), len(values)))
    for row, word in enumerate(words):
        if word in place:
            hot[row, place[word]] = 1.0
    return hot, sorted({word or MISSING for word in words if word not in place}, key=natural)


def _about(table: Table, columns: Sequence[Column]) -> list[str]:
    said = []
    for column in columns:
        if "values" in column:
            values = [str(value) or MISSING for value in column["values"]]
            said.append(f"{table.source}: {column['name']} is one of {listed(values)}: a column for each")
        elif column["missing"]:
            n = int(np.isnan(table.numbers(str(column["name"]))).sum())
            said.append(
                f"{table.source}: {column['name']} is missing {n} times: the mean takes its place, and a "
                "column of its own marks it"
            )
    return said
