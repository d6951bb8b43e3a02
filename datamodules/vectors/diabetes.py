"""Progression of diabetes in a year."""

from __future__ import annotations

from .base import Rows
from .cards import DIABETES
from .table import TableDataModule


class Diabetes(TableDataModule):
    """442 patients by 10 measurements, and the progression of the disease in a year; from scikit-learn."""

    card = DIABETES

    @staticmethod
    def read() -> Rows:
        """See `TableDataModule.read`."""
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True, scaled=False)
        return x, y[:, None]
