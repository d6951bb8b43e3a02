"""Experiments of papers, drawn by a formula."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from integrand.errors import UsageError

from .base import Rows, VectorDataModule


class ToyDataModule(VectorDataModule):
    """Points drawn by a formula, the same for every seed of a run: runs differ in their weights alone.

    Args:
        batch_size: Points per training batch and process.
        eval_batch_size: Points per batch in validation, test and prediction.
        train_size: Points of the training split.
        val_size: Points of the validation split.
        test_size: Points of the test split.
        seed: Seed of the order; by default the run's own seed.

    Raises:
        UsageError: A size is below 1.
    """

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 1000,
        train_size: int = 1000,
        val_size: int = 500,
        test_size: int = 1000,
        seed: int | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        self._counts = {"train": train_size, "val": val_size, "test": test_size}
        for name, value in self._counts.items():
            if value < 1:
                raise UsageError(f"{name}_size={value} leaves nothing to draw", "give at least 1")

    @staticmethod
    @abstractmethod
    def draw(rng: np.random.Generator, n: int) -> Rows:
        """Inputs and answers.

        Args:
            rng: Where the randomness comes from.
            n: How many.
        """

    @property
    def sizes(self) -> dict[str, int]:
        """Number of points by split."""
        return {f"n_{split}": count for split, count in self._counts.items()}

    def rows(self) -> dict[str, Rows]:
        """See `VectorDataModule.rows`."""
        seeds = {"train": 0, "val": 1, "test": 2}
        return {
            split: self.draw(np.random.Generator(np.random.PCG64([seeds[split], 20190404])), count)
            for split, count in self._counts.items()
        }
