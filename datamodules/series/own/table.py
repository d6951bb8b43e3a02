"""A table of the user's, and what to call its rows in an error."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError

from ...finite import LARGEST as LARGEST_NUMBER
from ...finite import is_usable

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
LARGEST = 1 << 31
"""Bytes of a file; a table is read whole."""


@dataclass(frozen=True)
class Table:
    """One observation in a row.

    Args:
        source: What errors call the table.
        frame: Its columns, indexed by the number of the row as the user counts.
        split: The part all of it belongs to; empty where the table itself says, or nobody.
    """

    source: str
    frame: pd.DataFrame
    split: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [str(c) for c in self.frame.columns]

    def row(self, i: int | np.integer[Any]) -> str:
        """What to call row `i`, counted from 0."""
        return f"{self.source}, row {self.frame.index[int(i)]}"

    def is_numeric(self, column: str) -> bool:
        """Whether a column holds numbers, or nothing."""
        import pandas as pd

        return bool(pd.api.types.is_numeric_dtype(self.frame[column]) or self.frame[column].isna().all())

    def numbers(self, column: str) -> Floats:
        """A column as numbers, NaN where nothing stands.

        Raises:
            UsageError: Text stands in it, or a value that is infinite in float32.
        """
        import pandas as pd

        given = self.frame[column]
        found: Floats = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        text = np.isnan(found) & ~given.isna().to_numpy()
        if text.any():
            i = int(np.flatnonzero(text)[0])
            raise UsageError(
                f"{self.row(i)}: {column} is {str(given.iloc[i])!r}, which is no number",
                "correct it, leave the cell empty where nothing was measured, or leave the column out: set "
                "data.channels",
            )
        wrong = ~is_usable(found) & ~np.isnan(found)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise UsageError(
                f"{self.row(i)}: {column} is {found[i]}, and numbers end at {LARGEST_NUMBER:.1g}",
                "leave the cell empty where nothing was measured",
            )
        return found

    def words(self, column: str) -> list[str]:
        """A column as text, empty where nothing stands; whole numbers without a decimal point."""
        import pandas as pd

        codes, known = pd.factorize(self.frame[column])  # -1, the last of the texts, where nothing stands
        texts = np.array([*map(_word, known), ""], dtype=object)
        return list(texts[codes])


def read_table(path: str, split: str = "") -> Table:
    """A CSV file, with commas, semicolons or tabs, or a Parquet file.

    Raises:
        UsageError: There is no such file, or it is no table.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"{path} is no file", "give the path of a CSV or Parquet file: set data.path")
    if file.stat().st_size > LARGEST:
        raise UsageError(
            f"{path} is a table of {file.stat().st_size / 1e9:.1f} GB, which would be read whole",
            "give a part of it, or arrays that stay on disk: --data Arrays",
        )
    try:
        frame = _parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _csv(file)
    except (ImportError, OSError, ValueError, csv.Error) as error:  # pandas' and pyarrow's are ValueErrors
        raise UsageError(f"{path} cannot be read as a table: {error}", _LONG) from error
    if frame.empty:
        raise UsageError(f"{path} holds no rows", _LONG)
    names = [str(c) for c in frame.columns]
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), ""):
        raise UsageError(f"{path} has two columns called {twice!r}", "give each column a name of its own")
    return Table(file.name, frame, split)


def _parquet(file: Path) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_parquet(file)
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def _csv(file: Path) -> pd.DataFrame:
    """The index is the line of the file, so that an editor finds it."""
    import pandas as pd

    with file.open(encoding="utf-8-sig") as lines:
        head = lines.readline()
    separator = max(",;\t", key=head.count)
    # the header apart: pandas would rename what stands twice
    names = [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
    frame = pd.read_csv(file, sep=separator, encoding="utf-8-sig", skip_blank_lines=False, low_memory=False)
    known = [str(name).strip() for name in frame.columns]
    if len(names) == len(known):
        known = [name or given for name, given in zip(names, known, strict=True)]
    frame.columns = pd.Index(known)
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    return frame.dropna(how="all")


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_LONG = "give one row for each observation, with a header that names the columns (docs/data.md)"
