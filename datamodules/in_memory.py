"""Data sets that are read once and kept whole: their splits and loaders."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from torch.utils.data import Sampler, SequentialSampler

from integrand.errors import UsageError

from .base import DataModule
from .images.loading import EpochShuffle, generator, identity
from .loader import EpochLoader
from .sharding import even_batch_size, sharded


class Split(Protocol):
    """The samples of one split, gathered a batch at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any:
        """One sample."""

    def __getitems__(self, rows: Any) -> Any:
        """A batch."""


class InMemoryDataModule(DataModule):
    """Three splits, each kept whole in memory.

    Args:
        batch_size: Samples per training batch and process.
        eval_batch_size: Samples per batch in validation, test and prediction.
        seed: Seed of the order; by default the run's own seed.

    Raises:
        UsageError: A size is below 1.
    """

    def __init__(self, batch_size: int = 64, eval_batch_size: int = 1000, seed: int | None = None) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise UsageError(f"{name}={value} makes no batch", "give at least 1")
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self._splits: Mapping[str, Split] = {}

    @abstractmethod
    def make_splits(self) -> Mapping[str, Split]:
        """`train`, `val` and `test`; sets `digest`. Called once.

        Raises:
            SpecError: What was read contradicts the spec.
        """

    def setup(self, stage: str | None = None) -> None:
        """Read and split; again does nothing.

        Raises:
            SpecError: What was read contradicts the spec.
        """
        if not self._splits:
            self._splits = self.make_splits()

    @property
    def order_seed(self) -> int:
        """The seed of the order of training: its own, else the run's."""
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.seed is None else self.seed

    def train_dataloader(self) -> EpochLoader:
        """Shuffled by seed and epoch alone."""
        seed = self.order_seed
        data: Any = self._set("train")
        share = sharded(EpochShuffle(data, seed), self, self.batch_size)
        return self._loader(data, self.batch_size, share, seed)

    def val_dataloader(self) -> EpochLoader:
        """The validation split in order."""
        return self._in_order("val")

    def test_dataloader(self) -> EpochLoader:
        """The test split in order."""
        return self._in_order("test")

    def predict_dataloader(self) -> EpochLoader:
        """The test split in order, answers included."""
        return self._in_order("test")

    def _set(self, split: str) -> Split:
        self.setup()
        return self._splits[split]

    def _in_order(self, split: str) -> EpochLoader:
        data: Any = self._set(split)
        size = even_batch_size(len(data), self.eval_batch_size, self)
        return self._loader(data, size, sharded(SequentialSampler(data), self, None), 0)

    @staticmethod
    def _loader(data: Any, size: int, sampler: Sampler[int], seed: int) -> EpochLoader:
        # a generator of its own keeps the loader from drawing from torch's global one
        own = generator("loader", seed, 0)
        return EpochLoader(data, batch_size=size, sampler=sampler, collate_fn=identity, generator=own)
