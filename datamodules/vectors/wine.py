"""Wines of three growers."""

from __future__ import annotations

from .base import Rows
from .cards import WINE
from .table import TableDataModule


class Wine(TableDataModule):
    """178 wines by 13 chemical measurements, from three growers; read from the installed scikit-learn."""

    card = WINE

    @staticmethod
    def read() -> Rows:
        """See `TableDataModule.read`."""
        from sklearn.datasets import load_wine

        x, y = load_wine(return_X_y=True)
        return x, y
