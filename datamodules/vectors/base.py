"""The datamodule that every set of labelled vectors shares."""

from __future__ import annotations

import hashlib
import json
import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, SequentialSampler

from integrand.errors import SpecError, UsageError
from integrand.spec import Classes, Spec

from ..base import DataModule
from ..card import DataCard
from ..images.loading import EpochShuffle, generator, identity
from ..loader import EpochLoader
from ..sharding import even_batch_size, sharded

Rows = tuple[npt.NDArray[np.float64], npt.NDArray[Any]]
"""Inputs (n, size) and answers: classes (n,), or targets (n, targets)."""


class VectorSet(Dataset[tuple[Tensor, Tensor]]):
    """Inputs and answers of one split.

    Args:
        x: Inputs, shape (n, size), float32.
        y: Classes (n,), int64, or targets (n, targets), float32.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One input and its answer."""
        return self.x[index], self.y[index]

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch."""
        at = torch.as_tensor(rows)
        return self.x.index_select(0, at), self.y.index_select(0, at)


class VectorDataModule(DataModule):
    """Vectors with classes or targets, kept whole in memory.

    A batch is `(x, y)`: x float32 of shape (B, size), y int64 of shape (B,) or float32 of shape (B, targets).

    Args:
        batch_size: Vectors per training batch and process.
        eval_batch_size: Vectors per batch in validation, test and prediction.
        seed: Seed of the order; by default the run's own seed.

    Raises:
        UsageError: A size is below 1.
    """

    card: ClassVar[DataCard]

    def __init__(self, batch_size: int = 64, eval_batch_size: int = 1000, seed: int | None = None) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise UsageError(f"{name}={value} makes no batch", "give at least 1")
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self._splits: dict[str, VectorSet] = {}

    @abstractmethod
    def rows(self) -> dict[str, Rows]:
        """Inputs and answers of `train`, `val` and `test`, as a model sees them."""

    @property
    def spec(self) -> Spec:
        """What a model takes from the data."""
        return self.card.spec

    def setup(self, stage: str | None = None) -> None:
        """Read and split; again does nothing.

        Raises:
            SpecError: Shapes or labels contradict the spec.
        """
        if self._splits:
            return
        digest = hashlib.sha256(json.dumps(self.card.name).encode())
        for split, (x, y) in self.rows().items():
            self._check(x, y)
            of_classes = isinstance(self.spec.question, Classes)
            self._splits[split] = VectorSet(
                torch.from_numpy(x.astype(np.float32)),
                torch.from_numpy(y.astype(np.int64 if of_classes else np.float32)),
            )
            for part in (x, y):
                digest.update(np.ascontiguousarray(part).tobytes())
        self.digest = digest.hexdigest()

    def train_dataloader(self) -> EpochLoader:
        """Shuffled by seed and epoch alone."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.seed is None else self.seed
        data = self._set("train")
        return self._loader(data, self.batch_size, sharded(EpochShuffle(data, seed), self, repeat=True), seed)

    def val_dataloader(self) -> EpochLoader:
        """The validation split in order."""
        return self._in_order("val")

    def test_dataloader(self) -> EpochLoader:
        """The test split in order."""
        return self._in_order("test")

    def predict_dataloader(self) -> EpochLoader:
        """The test split in order, answers included."""
        return self._in_order("test")

    def _set(self, split: str) -> VectorSet:
        self.setup()
        return self._splits[split]

    def _in_order(self, split: str) -> EpochLoader:
        data = self._set(split)
        size = even_batch_size(len(data), self.eval_batch_size, self)
        return self._loader(data, size, sharded(SequentialSampler(data), self, repeat=False), 0)

    @staticmethod
    def _loader(data: VectorSet, size: int, sampler: Sampler[int], seed: int) -> EpochLoader:
        # a generator of its own keeps the loader from drawing from torch's global one
        own = generator("loader", seed, 0)
        return EpochLoader(data, batch_size=size, sampler=sampler, collate_fn=identity, generator=own)

    def _check(self, x: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> None:
        spec, question = self.spec, self.spec.question
        answers = (len(x),) if isinstance(question, Classes) else (len(x), question.size)
        if x.shape[1:] != spec.input_shape or y.shape != answers:
            raise SpecError(
                f"{spec.name} holds inputs of shape {x.shape} and answers of shape {y.shape}, which "
                f"contradict its spec: (n, {spec.input_size}) and {answers}",
                "mend the data module's spec",
            )
        if not np.isfinite(x).all() or not np.isfinite(y).all():
            raise SpecError(f"{spec.name} holds values that are not finite", "leave those rows out")
