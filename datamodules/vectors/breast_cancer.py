"""Cell nuclei of benign and malignant tumours."""

from __future__ import annotations

from .base import Rows
from .cards import BREAST_CANCER
from .table import TableDataModule


class BreastCancer(TableDataModule):
    """569 tumours by 30 measurements of their cell nuclei; read from the installed scikit-learn."""

    card = BREAST_CANCER

    @staticmethod
    def read() -> Rows:
        """See `TableDataModule.read`."""
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        return x, y
