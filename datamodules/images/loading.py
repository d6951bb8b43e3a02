"""From one uint8 tensor to ready batches: the dataset and the sampler."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset, RandomSampler

from .augment import Augmentation

Batch = tuple[Tensor, Tensor]


class Inputs(Protocol):
    """Samples that are gathered by their rows: a tensor, or what reads them when they are asked for."""

    @property
    def shape(self) -> Sequence[int]:
        """(N, C, …)."""

    @property
    def device(self) -> torch.device:
        """Where rows are gathered."""

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """The samples of these rows, shape (B, C, …); `dim` is 0."""


def generator(purpose: str, seed: int, epoch: int) -> torch.Generator:
    """A CPU generator for one purpose, seed and epoch; neighbouring seeds and epochs share nothing."""
    digest = hashlib.sha256(f"{purpose}:{seed}:{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def identity(batch: Any) -> Any:
    """The collate function: `__getitems__` has already made the batch."""
    return batch


class ImageSet(Dataset[Any]):
    """Images, or other samples, of one split; a batch is gathered, augmented and scaled at once.

    Args:
        images: Shape (N, C, H, W), uint8, on the device where batches are wanted; or (N, C, …) of any type.
        labels: Shape (N, …), on the same device; None where there are none, and a batch is images alone.
        scale: Factor of each channel, shape (C,).
        shift: Added to each channel after scaling, shape (C,).
        augment: Changes made to each image, in this order.
        seed: Seed of the changes.
    """

    def __init__(
        self,
        images: Inputs,
        labels: Tensor | None,
        scale: Sequence[float],
        shift: Sequence[float],
        augment: Sequence[Augmentation] = (),
        seed: int = 0,
    ) -> None:
        self.images = images
        self.labels = labels
        self.augment = tuple(augment)
        self.seed = seed
        self.epoch = 0
        channels = (1, -1, *(1 for _ in images.shape[2:]))
        self._scale = torch.tensor(scale, device=images.device).view(channels)
        self._shift = torch.tensor(shift, device=images.device).view(channels)
        self._drawn: tuple[int, list[Tensor]] | None = None

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def __getitem__(self, index: int) -> Any:
        """One image, and its label if it has one, without a batch dimension."""
        batch = self.__getitems__([index])
        return (batch[0][0], batch[1][0]) if self.labels is not None else batch[0]

    def __getitems__(self, rows: Sequence[int]) -> Any:
        """A batch: float32 (B, C, H, W), scaled, and its labels."""
        at = torch.as_tensor(rows).to(self.images.device)
        images = self.images.index_select(0, at)
        for change, drawn in zip(self.augment, self._draws(), strict=True):
            images = change.apply(images, drawn.index_select(0, at))
        images = images.to(torch.float32).mul_(self._scale).add_(self._shift)
        return images if self.labels is None else (images, self.labels.index_select(0, at))

    def _draws(self) -> list[Tensor]:
        """The random numbers of the current epoch, drawn on its first batch."""
        if not self.augment:
            return []
        if self._drawn is None or self._drawn[0] != self.epoch:
            height, width = self.images.shape[2:]
            source = generator("augment", self.seed, self.epoch)
            tables = [change.draw(len(self), (height, width), source) for change in self.augment]
            self._drawn = self.epoch, [table.to(self.images.device) for table in tables]
        return self._drawn[1]


class EpochShuffle(RandomSampler):
    """A new order each epoch, given by seed and epoch alone.

    A subclass of RandomSampler, because Lightning puts its distributed sampler in place of those. Without a
    Trainer each pass is the next epoch.

    Args:
        data: The dataset.
        seed: Seed of the orders.
    """

    def __init__(self, data: Dataset[Any], seed: int) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # ImageSet has a length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; Lightning calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        yield from torch.randperm(self.num_samples, generator=generator("shuffle", self.seed, epoch)).tolist()
