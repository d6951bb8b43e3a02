"""The user's own series from a pandas data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integrand.errors import UsageError

from .base import OwnSeriesDataModule
from .cards import SERIES_FRAME
from .table import Table

if TYPE_CHECKING:
    import pandas as pd


class SeriesFrame(OwnSeriesDataModule):
    """Series from a pandas data frame with one observation in a row; for Python, not for the command line.

    Args:
        frame: The observations; errors name a row by its label in the index.
        **kwargs: See `OwnSeriesDataModule`.

    Raises:
        UsageError: The frame has no rows.
    """

    card = SERIES_FRAME

    def __init__(self, frame: pd.DataFrame, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not len(frame):
            raise UsageError("the frame holds no rows", "give one row for each observation")
        self.frame = frame

    def tables(self) -> list[Table]:
        """See `OwnSeriesDataModule.tables`."""
        return [Table("frame", self.frame)]
