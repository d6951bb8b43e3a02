"""Measured series with a class each, and the split of those who published them."""

from __future__ import annotations

import numpy as np

from integrand.errors import UsageError

from ..card import DataCard
from ..formats.packed import unpack
from ..images.split import stratified
from .base import SeriesDataModule
from .recording import Recording
from .stored import prepare, stored


class LabelledSeriesDataModule(SeriesDataModule):
    """Series with a class each; the test set is the published one.

    Validation is held out of the published training set, each class keeping its share, the same on every
    machine.

    Args:
        data_dir: Folder that is searched first (docs/data.md).
        batch_size: Series per training batch and process.
        eval_batch_size: Series per batch in validation, test and prediction.
        val_fraction: Share of the training set held out for validation.
        split_seed: Seed of the held-out part; leave it fixed to compare runs of different seeds.
        drop: Share of the observations of each series that is left out, from 0 to below 1.
        drop_seed: Seed that chooses them; leave it fixed to compare runs of different seeds.
        seed: Seed of the order; by default the run's own seed.
        verify: Check the content against its published digest.

    Raises:
        UsageError: A size or share is out of its domain.
    """

    def __init__(
        self,
        data_dir: str | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 256,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        drop: float = 0.0,
        drop_seed: int = 0,
        seed: int | None = None,
        verify: bool = True,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, drop, drop_seed, seed)
        if not 0 < val_fraction < 1:
            raise UsageError(f"val_fraction={val_fraction} splits nothing", "give a share between 0 and 1")
        self.data_dir, self.verify = data_dir, verify
        self.val_fraction, self.split_seed = val_fraction, split_seed

    @property
    def files(self) -> DataCard:
        """The card whose files are read."""
        return self.card

    def prepare_data(self) -> None:
        """Make sure the data is on this machine; Lightning calls it in one process per machine.

        Raises:
            DataError: It is nowhere and may not or cannot be downloaded; the remedy names every way.
        """
        prepare(self.files, self.data_dir)

    def recordings(self) -> dict[str, list[Recording]]:
        """See `SeriesDataModule.recordings`."""
        arrays = stored(self.files, self.data_dir, self.verify)
        given = unpack(arrays, "train")
        labels = np.array([r.answer for r in given])
        size = max(1, round(self.val_fraction * len(given)))
        train, val = stratified(labels, size, self.split_seed)
        return {
            "train": [given[i] for i in train],
            "val": [given[i] for i in val],
            "test": unpack(arrays, "test"),
        }
