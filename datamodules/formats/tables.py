"""Long records in tables of comma-separated values, as packages ship them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from ..series.recording import Recording
from .guards import gunzip
from .packed import WHOLE, Arrays, pack

Member = Callable[[str], bytes]
Column = list[str]

PELTS = ("Hare.csv", "Lynx.csv")
BEIJING = ("hourly_beijing_pm.csv",)
BEIJING_CHANNELS = ("pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir")
GLUCOSE = ("CGM.csv",)


def columns(data: bytes, where: str, wanted: Sequence[str]) -> dict[str, Column]:
    """Some columns of a table with a header, gzipped or not, as text.

    Raises:
        DataError: It is no such table, or lacks a column.
    """
    try:
        if data[:2] == b"\x1f\x8b":
            data = gunzip(data, where)
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"))))
        if not rows:
            raise ValueError("it has no rows")
        return {name: [row[name] for row in rows] for name in wanted}
    except (ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{where} is not the published table: {error}", _AGAIN) from error


def numbers(column: Column, where: str) -> npt.NDArray[np.float64]:
    """A column as numbers, NaN where it says `NA`, `nil` or nothing.

    Raises:
        DataError: Something else stands in it.
    """
    try:
        return np.array([float(x) if x not in ("", "NA", "nil") else np.nan for x in column])
    except ValueError as error:
        raise DataError(f"{where}: {error}", _AGAIN) from error


def _one(times: npt.NDArray[np.float64], channels: Sequence[npt.NDArray[np.float64]]) -> Arrays:
    return pack(WHOLE, [Recording(times, np.stack(channels, axis=1))])


def read_pelts(member: Member) -> Arrays:
    """Hare and lynx by year."""
    hare, lynx = (columns(member(name), name, ("Time", "Value")) for name in PELTS)
    if hare["Time"] != lynx["Time"]:
        raise DataError("hare and lynx are not of the same years", _AGAIN)
    values = [numbers(c["Value"], name) for c, name in zip((hare, lynx), PELTS, strict=True)]
    return _one(numbers(hare["Time"], "Hare.csv"), values)


def read_beijing(member: Member) -> Arrays:
    """Weather and fine dust, hourly; times in hours from the first row."""
    (name,) = BEIJING
    table = columns(member(name), name, ("No", *BEIJING_CHANNELS))
    return _one(numbers(table["No"], name) - 1.0, [numbers(table[c], name) for c in BEIJING_CHANNELS])


def read_glucose(member: Member) -> Arrays:
    """Glucose and the sensor's current; times in hours from the first row.

    Three minutes stand twice in the file; the later reading is kept.
    """
    (name,) = GLUCOSE
    table = columns(member(name), name, ("datetime", "glucose", "isig"))
    try:
        stamps = [datetime.fromisoformat(x).replace(tzinfo=UTC).timestamp() for x in table["datetime"]]
    except ValueError as error:
        raise DataError(f"{name}: {error}", _AGAIN) from error
    hours = (np.array(stamps) - stamps[0]) / 3600
    last = np.append(np.diff(hours) > 0, True)
    return _one(hours[last], [numbers(table[c], name)[last] for c in ("glucose", "isig")])


_AGAIN = "delete it and fetch it again"
