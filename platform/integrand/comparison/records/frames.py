"""Results that come from elsewhere: a table with a row for each run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integrand.errors import UsageError
from integrand.record import RunRecord
from integrand.suggest import did_you_mean

from .foreign import DATA, FAMILIES, SEEDS, from_settings, whole

if TYPE_CHECKING:
    import pandas as pd

_STATUS = ("status", "State", "state")
_NAMES = ("run_id", "ID", "Name", "run_name")
_FINISHED = ("finished", "success", "completed", "complete")


def read_table(path: str | Path) -> pd.DataFrame:
    """The runs of a CSV file, such as W&B's export.

    Raises:
        UsageError: There is no such file, or it is no table.
    """
    import pandas as pd

    try:
        return pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{path} cannot be read as CSV: {first}", "export the runs as CSV") from error


def records_of(
    frame: pd.DataFrame,
    group: str | Sequence[str] | None = None,
    seed: str | None = None,
    data: str | None = None,
) -> list[RunRecord]:
    """The rows of a table of runs as records.

    MLflow's `search_runs` names what a column is (`metrics.…`, `params.…`, `tags.…`). In other tables numbers
    are results and text is a setting, but for the columns that are named here.

    Args:
        frame: One row for each run.
        group: Columns that say what is compared; by default one called family, model, method or the like, or
            all of MLflow's parameters.
        seed: Column of the seed, by which runs are paired; by default one called so.
        data: Column of the data set: groups on different ones are not compared.

    Raises:
        UsageError: The table is empty, lacks a column, or does not say what is compared.
    """
    if not len(frame):
        raise UsageError("the table has no rows", "give one row for each run")
    columns = [str(column) for column in frame.columns]
    groups = [group] if isinstance(group, str) else list(group or ())
    for name in (*groups, *([seed] if seed else ()), *([data] if data else ())):
        if name not in columns:
            raise UsageError(
                f"the table has no column {name!r}{did_you_mean(name, columns)}",
                f"its columns: {', '.join(columns[:12])}",
            )
    mlflow = any(column.startswith("metrics.") for column in columns)
    chosen = groups or ([] if mlflow else _first(columns, FAMILIES))
    if not (chosen or mlflow):
        raise UsageError(
            "the table does not say what is compared", f'group="one of {", ".join(columns[:8])}"'
        )
    rows = frame.to_dict("records")
    return [_record(i, {str(k): v for k, v in row.items()}, chosen, seed, data) for i, row in enumerate(rows)]


def _record(
    number: int, row: Mapping[str, Any], groups: Sequence[str], seed: str | None, data: str | None
) -> RunRecord:
    """The record of one row."""
    name = next((str(row[n]) for n in _NAMES if not _absent(row.get(n))), "")
    status = next((str(row[n]) for n in _STATUS if not _absent(row.get(n))), "finished").lower()
    known: dict[str, Any] = {
        "run_name": name,
        "status": "FINISHED" if status in _FINISHED else "FAILED",
        "started": float(number + 1),  # of two runs with one seed the later row counts
        "error": None if status in _FINISHED else {"type": "", "message": status},
        "metrics": _values(row, {*groups, seed, data}),
    }
    settings = _params(row)
    if groups:
        first, *others = groups
        label = " ".join([str(row[first]), *(f"{_bare(c)}={row[c]}" for c in others)])
        # of its settings only those that were named tell groups apart
        kept = {key: value for key, value in settings.items() if key.lower() in (*SEEDS, *DATA)}
        settings = {**kept, "family": label}
    if data is not None:
        settings = {k: v for k, v in settings.items() if k.lower() not in DATA} | {"data": row[data]}
    record = from_settings(f"row-{number + 1:05d}", settings, **known)
    if seed is not None:
        record.seed = whole(row[seed])
    record.metrics = known["metrics"]
    record.cost = {k.removeprefix("cost/"): v for k, v in record.metrics.items() if k.startswith("cost/")}
    return record


def _params(row: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run: MLflow's parameters, else the seed, the data set and what is text."""
    found = {k.removeprefix("params."): v for k, v in row.items() if k.startswith("params.")}
    if not found:
        known = {*SEEDS, *FAMILIES, *DATA}
        found = {k: v for k, v in row.items() if k.lower() in known}
    return {key: value for key, value in found.items() if not _absent(value)}


def _values(row: Mapping[str, Any], taken: Iterable[str | None]) -> dict[str, float]:
    """Results of a run: MLflow's metrics, else every number that is no setting."""
    named = {k.removeprefix("metrics."): v for k, v in row.items() if k.startswith("metrics.")}
    others = {k: v for k, v in row.items() if k not in set(taken) and k.lower() not in SEEDS}
    return {
        key: float(value)
        for key, value in (named or others).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _first(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    lower = {column.lower(): column for column in columns}
    return [lower[name] for name in names if name in lower][:1]


def _bare(column: str) -> str:
    return column.removeprefix("params.").removeprefix("tags.")


def _absent(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
