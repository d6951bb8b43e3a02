"""Tables that come with scikit-learn: classes or a target for each row."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError
from integrand.spec import Classes

from ..images.split import stratified
from .base import Rows, VectorDataModule


class TableDataModule(VectorDataModule):
    """A table whose columns get zero mean and unit deviation over its training rows.

    The same rows are held out on every machine, each class keeping its share. A target is scaled like the
    columns, by the numbers that its card publishes; metrics are in its own units.

    Args:
        batch_size: Rows per training batch and process.
        eval_batch_size: Rows per batch in validation, test and prediction.
        val_fraction: Share of the rows held out for validation.
        test_fraction: Share of the rows held out for the test.
        split_seed: Seed of the held-out rows; leave it fixed to compare runs of different seeds.
        seed: Seed of the order; by default the run's own seed.

    Raises:
        UsageError: The shares leave nothing to train on.
    """

    def __init__(
        self,
        batch_size: int = 32,
        eval_batch_size: int = 1000,
        val_fraction: float = 0.15,
        test_fraction: float = 0.25,
        split_seed: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        if not (val_fraction > 0 and test_fraction > 0 and val_fraction + test_fraction < 1):
            raise UsageError(
                f"val_fraction={val_fraction} and test_fraction={test_fraction} do not split a table",
                "give positive shares that sum to less than 1",
            )
        self.fractions, self.split_seed = (val_fraction, test_fraction), split_seed

    @staticmethod
    @abstractmethod
    def read() -> Rows:
        """The whole table: columns (n, size), and classes (n,) or the raw target (n, 1)."""

    @property
    def sizes(self) -> dict[str, int]:
        """Number of rows by split."""
        return {f"n_{split}": len(rows) for split, rows in self._parts.items()}

    def rows(self) -> dict[str, Rows]:
        """See `VectorDataModule.rows`."""
        x, y = self._table
        question = self.spec.question
        if not isinstance(question, Classes):
            y = (y - np.array(question.shifts)) / np.array(question.scales)  # type: ignore[attr-defined]
        train = x[self._parts["train"]]
        x = (x - train.mean(axis=0)) / train.std(axis=0)
        return {split: (x[rows], y[rows]) for split, rows in self._parts.items()}

    @cached_property
    def _table(self) -> Rows:
        return self.read()

    @cached_property
    def _parts(self) -> dict[str, npt.NDArray[np.int64]]:
        _, y = self._table
        labels = y if isinstance(self.spec.question, Classes) else np.zeros(len(y), dtype=np.int64)
        n_val, n_test = (round(share * len(labels)) for share in self.fractions)
        rest, test = stratified(labels, n_test, self.split_seed)
        train, val = stratified(labels[rest], n_val, self.split_seed + 1)
        return {"train": rest[train], "val": rest[val], "test": test}
