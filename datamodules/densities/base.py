"""The datamodule that every distribution in the plane shares."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from integrand.errors import UsageError
from integrand.spec import Spec

from ..base import DataModule
from ..card import DataCard
from ..images.loading import generator, identity
from ..loader import EpochLoader
from ..sharding import even_batch_size, sharded
from .stream import EpochOrder, Points, PointStream, points


class DensityDataModule(DataModule):
    """An endless stream of points for training, and fixed sets of points for validation and test.

    A batch is a tensor of points, float32 of shape (B, 2). A training point follows from seed, epoch and
    index alone: neither batch size nor number of processes changes it. Validation and test are the same for
    every seed of a run.

    Args:
        batch_size: Points per training batch and process.
        eval_batch_size: Points per batch in validation and test.
        train_size: Points per epoch; the next epoch has others.
        val_size: Points of the validation set.
        test_size: Points of the test set.
        seed: Seed of the training stream; by default the run's own seed.

    Attributes:
        card: What is known about the distribution.
        digest: sha256 over the formula and the sizes: equal exactly if the same points are evaluated.

    Raises:
        UsageError: A size is below 1.
    """

    card: ClassVar[DataCard]

    def __init__(
        self,
        batch_size: int = 256,
        eval_batch_size: int = 1000,
        train_size: int = 25_600,
        val_size: int = 2_000,
        test_size: int = 4_000,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "train_size": train_size,
            "val_size": val_size,
            "test_size": test_size,
        }
        for name, value in sizes.items():
            if value < 1:
                raise UsageError(f"{name}={value} leaves nothing to draw", "give at least 1")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.train_size, self.val_size, self.test_size = train_size, val_size, test_size
        self.seed = seed
        formula = inspect.getsource(type(self))
        self.digest = hashlib.sha256(json.dumps([self.card.name, formula, sizes]).encode()).hexdigest()

    @staticmethod
    @abstractmethod
    def draw(rng: np.random.Generator, n: int) -> Points:
        """Points of the distribution.

        Args:
            rng: Where the randomness comes from.
            n: How many.

        Returns:
            Shape (n, 2), float64.
        """

    @staticmethod
    def exact_log_density(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        """Log p(x) in nats for x of shape (n, 2); None where no closed form is known."""
        return None

    def log_density(self, x: Tensor) -> Tensor | None:
        """Log p(x) in nats, shape (n,), for x of shape (n, 2); None where no closed form is known."""
        values = self.exact_log_density(x.detach().cpu().numpy().astype(np.float64))
        return None if values is None else torch.from_numpy(values).to(x)

    @property
    def spec(self) -> Spec:
        """What a model takes from the data."""
        return self.card.spec

    @property
    def sizes(self) -> dict[str, int]:
        """Number of points by split; those of training for each epoch."""
        return {"n_train": self.train_size, "n_val": self.val_size, "n_test": self.test_size}

    def train_dataloader(self) -> EpochLoader:
        """The stream of the run's seed."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.seed is None else self.seed
        data = PointStream(self.draw, f"{self.card.name}:train", seed, self.train_size)
        return EpochLoader(
            data,
            batch_size=self.batch_size,
            sampler=sharded(EpochOrder(data), self, self.batch_size),
            collate_fn=identity,
            generator=generator("loader", seed, 0),
        )

    def val_dataloader(self) -> EpochLoader:
        """The fixed validation points."""
        return self._fixed("val", self.val_size)

    def test_dataloader(self) -> EpochLoader:
        """The fixed test points."""
        return self._fixed("test", self.test_size)

    def predict_dataloader(self) -> EpochLoader:
        """The fixed test points."""
        return self.test_dataloader()

    def reference(self, n: int, seed: int = 0) -> Tensor:
        """`n` points beside those of validation and test, shape (n, 2), float32."""
        drawn = points(self.draw, f"{self.card.name}:reference", seed, 0, n)
        return torch.from_numpy(drawn).to(torch.float32)

    def _fixed(self, split: str, size: int) -> EpochLoader:
        data = PointStream(self.draw, f"{self.card.name}:{split}", 0, size, fixed=True)
        return EpochLoader(
            data,
            batch_size=even_batch_size(size, self.eval_batch_size, self),
            sampler=sharded(SequentialSampler(data), self, None),
            collate_fn=identity,
            generator=generator("loader", 0, 0),
        )
