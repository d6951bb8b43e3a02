"""The user's own series from files."""

from __future__ import annotations

from typing import Any

from .base import OwnSeriesDataModule
from .cards import CSV_TRAJECTORIES
from .table import Table, read_table


class CSVTrajectories(OwnSeriesDataModule):
    """Series from a CSV or Parquet file with one observation in a row: id, time, channels.

    Args:
        path: The file; the training part alone where the others have files of their own.
        val_path: File of the validation part.
        test_path: File of the test part.
        **kwargs: See `OwnSeriesDataModule`.
    """

    card = CSV_TRAJECTORIES

    def __init__(
        self, path: str, val_path: str | None = None, test_path: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.paths = path, val_path, test_path

    def tables(self) -> list[Table]:
        """See `OwnSeriesDataModule.tables`."""
        path, *others = self.paths
        parts = dict(zip(("val", "test"), others, strict=True))
        several = any(parts.values())
        assert path is not None
        first = read_table(path, "train" if several else "")
        return [first, *(read_table(p, part) for part, p in parts.items() if p)]
