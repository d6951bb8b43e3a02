"""Which data module reads a path of the user's own. Imports neither torch nor pandas."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from integrand.errors import UsageError
from integrand.suggest import did_you_mean

from . import suffixes

TABLES = ("CSVTable", "CSVTrajectories")
"""The data modules that read tables; which one depends on what the rows are."""
_SAVED = ("dataset_info.json", "dataset_dict.json")
_TIMES = frozenset({"time", "t", "times", "timestamp", "datetime"})
_LOOKED_AT = 10_000
"""Files of a folder that a guess looks at."""


@dataclass(frozen=True)
class Guess:
    """What reads a path.

    Args:
        class_name: The data module.
        why: What the guess rests on, in a few words.
        option: Its option that takes the path.
    """

    class_name: str
    why: str
    option: str = "path"


def means_path(value: str) -> bool:
    """Whether the value of `--data` is a path and not a class: it exists, or is written like one."""
    path = Path(value).expanduser()
    if not value or path.suffix in (".yaml", ".yml") or value[:1] == "{":
        return False
    if path.suffix.casefold() in suffixes.KNOWN or any(sign in value for sign in ("/", os.sep, "~")):
        return True
    return path.exists()


def guess(value: str) -> Guess:
    """The data module that reads a path.

    Raises:
        UsageError: There is nothing, or nothing that a data module reads.
    """
    path = Path(value).expanduser()
    suffix = path.suffix.casefold()
    try:
        if path.is_dir():
            return _folder(path, value)
        if not path.exists():
            near = did_you_mean(path.name, _beside(path))
            raise UsageError(f"--data {value}: there is no such file or folder{near}", "correct the path")
        if suffix in suffixes.ARRAYS:
            return Guess("Arrays", suffix)
        if suffix in suffixes.IMAGES:
            return Guess("ImageFolder", "an image")
        if suffix in suffixes.TABLES:
            return _table(path, suffix)
    except OSError as error:
        raise UsageError(
            f"--data {value} cannot be read: {error.strerror}", "check its permissions"
        ) from error
    raise UsageError(f"--data {value}: no data set is known by {suffix or 'such a name'}", _KNOWN)


def _beside(path: Path) -> list[str]:
    """What lies where a path was looked for."""
    if not path.parent.is_dir():
        return []
    return [entry.name for entry in islice(os.scandir(path.parent), _LOOKED_AT)]


def _folder(path: Path, value: str) -> Guess:
    counts = {"ImageFolder": 0, "Arrays": 0}
    tables: list[str] = []
    seen = 0
    for here, _, names in os.walk(path):
        if any(name in names for name in _SAVED):
            return Guess("HuggingFace", "saved by datasets", "name")
        for name in names:
            suffix = Path(name).suffix.casefold()
            counts["ImageFolder"] += suffix in suffixes.IMAGES
            counts["Arrays"] += suffix in suffixes.ARRAYS
            tables += [str(Path(here, name))] if suffix in suffixes.TABLES - {".txt"} else []
            seen += 1
        if seen > _LOOKED_AT:
            break
    best = max(counts, key=counts.__getitem__)
    if counts[best]:
        return Guess(best, f"{counts[best]} {'images' if best == 'ImageFolder' else 'arrays'}")
    if tables:
        raise UsageError(
            f"--data {value} is a folder of {len(tables)} tables", f"name one: --data {sorted(tables)[0]}"
        )
    raise UsageError(f"--data {value} holds neither images nor arrays", _KNOWN)


def _table(path: Path, suffix: str) -> Guess:
    """A table with a column of times holds series, another one samples."""
    columns = _parquet_columns(path) if suffix in suffixes.PARQUET else _csv_columns(path)
    times = [c for c in columns if c.strip().casefold() in _TIMES]
    if times:
        return Guess("CSVTrajectories", f"its column {times[0]} holds times")
    return Guess("CSVTable", "none of its columns is called a time")


def _csv_columns(path: Path) -> Sequence[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        head = lines.readline(1 << 16)
    return next(csv.reader([head], delimiter=max(",;\t", key=head.count)), [])


def _parquet_columns(path: Path) -> Sequence[str]:
    from pyarrow import ArrowException, parquet

    try:
        return [str(name) for name in parquet.read_schema(path).names]
    except ArrowException as error:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise UsageError(f"{path} cannot be read as Parquet: {first}", "write it again") from error


_KNOWN = "known: folders of images, .npz, .npy, .csv, .tsv, .parquet; or name a data set: integrand data list"
