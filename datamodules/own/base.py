"""The datamodule of data that are the user's own."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor

from integrand.errors import UsageError
from integrand.spec import Spec

from ..base import DESCRIBED
from ..card import DataCard
from ..images.augment import Augmentation
from ..images.loading import ImageSet
from ..in_memory import InMemoryDataModule
from ..loader import EpochLoader
from .answers import Asked, Rows
from .parts import PARTS, Shares
from .source import Collection, Description, Source, collect, collect_new
from .stores import Part

log = logging.getLogger(__name__)

_AT_ONCE = 1024  # samples that are looked at together


class OwnDataModule(InMemoryDataModule):
    """Samples of the user's own: what they are is inferred, said once, and recorded.

    With classes or numbers for each sample those are asked for, otherwise their distribution. A batch is
    `(x, y)`: x float32 (B, …), y int64 (B,) or float32 (B, targets); or x alone.

    Args:
        batch_size: Samples per training batch and process.
        eval_batch_size: Samples per batch in validation, test and prediction.
        val_fraction: Share of the samples that validates, where the data do not say.
        test_fraction: Share of the samples that tests, where the data do not say.
        split_seed: Seed of the split; leave it fixed to compare runs of different seeds.
        seed: Seed of the order; by default the run's own seed.
        question: Whether `classes` or `targets` (numbers) are asked for; by default as the answers look.
        described: What an earlier training inferred, as its checkpoint keeps it: all samples then test it.

    Raises:
        UsageError: An option is out of its domain.
    """

    card: ClassVar[DataCard]

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        val_fraction: float = 0.15,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        seed: int | None = None,
        question: Asked = "auto",
        described: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        self.shares = Shares(val_fraction, test_fraction, split_seed)
        self.question, self.described = question, described
        self.augment: Sequence[Augmentation] = ()

    @abstractmethod
    def source(self) -> Source:
        """What the files hold; called once.

        Raises:
            UsageError: They cannot be read; file, option and remedy are named.
        """

    @cached_property
    def collection(self) -> Collection:
        """What the files hold, split and described; read when it is first asked for."""
        source = self.source()
        found = (
            collect(source, self.question, self.shares)
            if self.described is None
            else collect_new(source, self.described)
        )
        for line in found.said:
            _say(line)
        return found

    @property
    def spec(self) -> Spec:
        """What a model takes from the data."""
        return self.collection.spec

    @property
    def description(self) -> Description:
        """What was inferred from the training part; a checkpoint keeps it, and predictions start from it."""
        return self.collection.description

    @property
    def sizes(self) -> dict[str, int]:
        """Number of samples by split."""
        return {f"n_{part}": len(self.collection.rows[part]) for part in PARTS}

    @property
    def ids(self) -> Sequence[str]:
        """What each sample that is predicted is called, in order."""
        return [self.collection.ids[i] for i in self.collection.rows["test"]]

    def make_splits(self) -> Mapping[str, ImageSet]:
        """See `InMemoryDataModule.make_splits`."""
        self.digest = self.collection.digest
        return {part: self._samples(rows) for part, rows in self.collection.rows.items()}

    def train_dataloader(self) -> EpochLoader:
        """Shuffled and augmented, both by seed and epoch alone."""
        if self.described is not None:
            raise UsageError(
                f"{self.spec.name} is described by an earlier training",
                "leave data.described out to train on it",
            )
        self.setup()
        seed = self.order_seed
        self._splits = {
            **self._splits,
            "train": self._samples(self.collection.rows["train"], self.augment, seed),
        }
        return super().train_dataloader()

    def test_dataloader(self) -> EpochLoader:
        """The test split in order.

        Raises:
            UsageError: There are no answers to compare with.
        """
        trainer = self.trainer
        if self.described is not None and self.collection.answers is None and trainer is not None:
            raise UsageError(
                f"{self.spec.name} holds no answers that the model knows", "integrand predict needs none"
            )
        return super().test_dataloader()

    def some(self, split: str, n: int) -> tuple[Tensor, Tensor]:
        """Samples of a split with their answers, as a model sees them; the same at every call.

        Args:
            split: `train`, `val` or `test`.
            n: How many; all of the split where it has fewer.
        """
        rows = self.collection.rows[split]
        order = np.argsort(np.random.PCG64(0).random_raw(len(rows)), kind="stable")[:n]
        batch = self._samples(rows).__getitems__(order.tolist())
        return batch if isinstance(batch, tuple) else (batch, torch.zeros(len(batch), dtype=torch.int64))

    def whole_train(self) -> tuple[Tensor, Tensor]:
        """Every training image as bytes, and its class.

        Raises:
            UsageError: The samples are no images of bytes with classes.
        """
        found = self.collection
        if found.description.get("white") != 255 or found.answers is None or found.spec.num_classes == 0:
            raise UsageError(
                f"{found.spec.name} holds no images of bytes with classes", "set model.evaluation to null"
            )
        rows = torch.from_numpy(found.rows["train"])
        return found.inputs.index_select(0, rows), found.answers[rows]

    def denormalise(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1], or values in the units of the file; shape (…, C, H, W) or (…, C)."""
        found, described = self.collection, self.description
        if "white" not in described:
            if "mean" not in described:
                return x  # the columns of a table
            return x * x.new_tensor(described["std"]) + x.new_tensor(described["mean"])
        back: Tensor = (x - x.new_tensor(found.shift).view(-1, 1, 1)) / x.new_tensor(found.scale).view(
            -1, 1, 1
        )
        return (back / float(described["white"])).clamp(0, 1)

    def scaled(self, pixels: Tensor) -> Tensor:
        """Inputs as a model sees them from pixels in [0, 1], shape (…, C, H, W); inverts `denormalise`."""
        found = self.collection
        factor = pixels.new_tensor(found.scale).view(-1, 1, 1) * float(self.description["white"])
        return pixels * factor + pixels.new_tensor(found.shift).view(-1, 1, 1)

    @classmethod
    def pixel_options(cls, shape: Sequence[int]) -> dict[str, Any] | None:
        """Options for pixels in [0, 1], of a shape (C, H, W) where they are resized; None without images."""
        return None

    @cached_property
    def lacks_pixels(self) -> str:
        """Why the samples are no pixels between a known black and white, in words; empty where they are."""
        inputs, white = self.collection.inputs, self.description.get("white")
        if white is None:
            return "its data set holds no images"
        low = high = 0.0
        for rows in torch.split(torch.arange(inputs.shape[0]), _AT_ONCE):
            block = inputs.index_select(0, rows)
            if block.dtype == torch.uint8:
                return ""
            low, high = min(low, float(block.min())), max(high, float(block.max()))
        if white == 1 and low >= 0 and high <= 1:
            return ""
        return (
            f"its pixels lie between {low:g} and {high:g}: bytes, or numbers from 0 to 1, say what is white"
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {DESCRIBED: dict(self.description)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: the data decide, and a description for others is an argument."""

    def _samples(self, rows: Rows, augment: Sequence[Augmentation] = (), seed: int = 0) -> ImageSet:
        found = self.collection
        labels = None if found.answers is None else found.answers[torch.from_numpy(rows)]
        return ImageSet(Part(found.inputs, rows), labels, found.scale, found.shift, augment, seed)


@rank_zero_only
def _say(line: str) -> None:
    log.warning(line)
