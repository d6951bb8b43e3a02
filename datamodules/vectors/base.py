"""The datamodule that every set of labelled vectors shares."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from integrand.errors import SpecError
from integrand.spec import Classes, Spec

from ..card import DataCard
from ..finite import LARGEST, is_usable
from ..in_memory import InMemoryDataModule

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


class VectorDataModule(InMemoryDataModule):
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

    @abstractmethod
    def rows(self) -> dict[str, Rows]:
        """Inputs and answers of `train`, `val` and `test`, as a model sees them."""

    @property
    def spec(self) -> Spec:
        """What a model takes from the data."""
        return self.card.spec

    def make_splits(self) -> dict[str, VectorSet]:
        """See `InMemoryDataModule.make_splits`."""
        digest = hashlib.sha256(json.dumps(self.card.name).encode())
        splits: dict[str, VectorSet] = {}
        for split, (x, y) in self.rows().items():
            self._check(x, y)
            of_classes = isinstance(self.spec.question, Classes)
            splits[split] = VectorSet(
                torch.from_numpy(x.astype(np.float32)),
                torch.from_numpy(y.astype(np.int64 if of_classes else np.float32)),
            )
            for part in (x, y):
                digest.update(np.ascontiguousarray(part).tobytes())
        self.digest = digest.hexdigest()
        return splits

    def _check(self, x: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> None:
        spec, question = self.spec, self.spec.question
        answers = (len(x),) if isinstance(question, Classes) else (len(x), question.size)
        if x.shape[1:] != spec.input_shape or y.shape != answers:
            raise SpecError(
                f"{spec.name} holds inputs of shape {x.shape} and answers of shape {y.shape}, which "
                f"contradict its spec: (n, {spec.input_size}) and {answers}",
                "mend the data module's spec",
            )
        good = is_usable(x).reshape(len(x), -1).all(axis=1) & is_usable(y).reshape(len(y), -1).all(axis=1)
        if not good.all():
            raise SpecError(
                f"{spec.name}: row {int(np.argmin(good))} (counted from 0) holds NaN, or values beyond "
                f"±{LARGEST:.1g}",
                "leave such rows out",
            )
