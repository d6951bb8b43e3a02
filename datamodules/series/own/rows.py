"""From the rows of a table to series; every refusal names the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from integrand.errors import UsageError

from ..recording import Recording
from .roles import Roles
from .table import Floats, Rows, Table
from .times import read_times

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class OwnSeries:
    """One series of a table.

    Args:
        recording: Its observations; times as they stand in the table.
        row: What to call its first row.
        part: `train`, `val` or `test`; empty where nobody says.
        label: Its class as it stands in the table; empty without one.
        dates: Whether times are seconds that were read from dates.
    """

    recording: Recording
    row: str
    part: str = ""
    label: str = ""
    dates: bool = False


def read_series(table: Table, roles: Roles, sort: bool = False) -> list[OwnSeries]:
    """The series of a table in the order in which they begin.

    Args:
        table: The table.
        roles: The part of each column.
        sort: Put the rows of a series in order of their times.

    Raises:
        UsageError: A row cannot be right; it is named with what can be done.
    """
    times, dates = read_times(table, roles.time)
    values = np.stack([table.numbers(c) for c in roles.channels], axis=1)
    numbers = {c: table.numbers(c) for c in (*roles.static, *roles.targets)}
    words = {c: table.words(c) for c in (roles.split, roles.label) if c}
    found = []
    for name, rows in _groups(table, roles.id):
        if sort:
            rows = rows[np.argsort(times[rows], kind="stable")]
        _check_order(table, roles, name, rows, times[rows])
        whole = {c: _constant(table, c, column[rows], rows, name) for c, column in numbers.items()}
        said = {c: _same(table, c, column, rows, name) for c, column in words.items()}
        recording = Recording(
            times[rows],
            values[rows],
            np.array([whole[c] for c in roles.static]),
            np.array([whole[c] for c in roles.targets]) if roles.targets else None,
            name=name or table.source,
        )
        part = said.get(roles.split, table.split)
        if part and part not in PARTS:
            raise UsageError(
                f"{table.row(rows[0])}: {roles.split} is {part!r}", f"write one of {', '.join(PARTS)}"
            )
        found.append(OwnSeries(recording, table.row(rows[0]), part, said.get(roles.label, ""), dates))
    return found


def refuse_mixed(series: Sequence[OwnSeries]) -> None:
    """Refuse a series that is in two files, or in parts without and with a name.

    Raises:
        UsageError: There is one.
    """
    first: dict[str, OwnSeries] = {}
    for one in series:
        name = one.recording.name
        if name in first:
            other = first[name]
            parts = {one.part, other.part} - {""}
            where = f" ({' and '.join(sorted(parts))})" if len(parts) == 2 else ""
            raise UsageError(
                f"{one.row}: series {name!r} stands at {other.row} as well{where}: what is tested would be "
                "known from training",
                "keep each series in one part, or give different series different ids",
            )
        first[name] = one


def _groups(table: Table, column: str) -> list[tuple[str, Rows]]:
    """Positions of the rows of each series."""
    if not column:
        return [("", np.arange(len(table)))]
    ids = table.words(column)
    if "" in ids:
        raise UsageError(
            f"{table.row(ids.index(''))}: {column} is empty", "say which series the row belongs to"
        )
    _, first, which = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(which, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(which))[:-1])
    return [(ids[first[k]], parts[k]) for k in np.argsort(first)]


def _check_order(table: Table, roles: Roles, name: str, rows: Rows, times: Floats) -> None:
    """Times have to increase."""
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if not len(wrong):
        return
    i = int(wrong[0])
    at, before = (str(table.frame[roles.time].iloc[rows[k]]) for k in (i + 1, i))
    of = f" of series {name!r}" if name else ""
    hint = "" if roles.id else "; if the table holds several series, name their column: set data.id_column"
    if times[i + 1] == times[i]:
        raise UsageError(
            f"{table.row(rows[i + 1])}: time {at}{of} stands at {table.row(rows[i])} already",
            f"merge the rows of one time, or leave all but one out{hint}",
        )
    raise UsageError(
        f"{table.row(rows[i + 1])}: time {at}{of} comes after {before}",
        f"sort the rows by time, or set data.sort to true{hint}",
    )


def _constant(table: Table, column: str, numbers: Floats, rows: Rows, name: str) -> float:
    """The number that a series has as a whole."""
    differs = np.flatnonzero(~(numbers == numbers[0]))
    if len(differs):
        i = int(differs[0])
        was = "is empty" if np.isnan(numbers[i]) else f"is {numbers[i]:g} after {numbers[0]:g}"
        raise UsageError(
            f"{table.row(rows[i])}: {column} of series {name!r} {was}",
            "a target or static column says the same number in all rows of a series",
        )
    return float(numbers[0])


def _same(table: Table, column: str, words: list[str], rows: Rows, name: str) -> str:
    """The word that all rows of a series have in a column."""
    first: str = words[rows[0]]
    wrong = next((i for i in rows if words[i] != first or not words[i]), None)
    if wrong is not None:
        said = f"is {words[wrong]!r} after {first!r}" if words[wrong] else "is empty"
        raise UsageError(
            f"{table.row(wrong)}: {column} of series {name!r} {said}",
            f"write the same {column} in all rows of a series",
        )
    return first
