"""Points that follow from seed, epoch and index alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler

Points = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Points]

BLOCK = 4096
"""Points drawn at once. A block has a generator of its own, so that a point depends on its index and not on
how many others are asked for."""


def points(draw: Draw, purpose: str, seed: int, epoch: int, size: int) -> Points:
    """The first `size` points of a stream.

    Args:
        draw: Draws that many points with a generator, shape (n, 2).
        purpose: Keeps training, validation and test apart.
        seed: Seed of the stream.
        epoch: Part of the stream.
        size: How many.

    Returns:
        Shape (size, 2), float64.
    """
    blocks = []
    for block in range(-(-size // BLOCK)):
        digest = hashlib.sha256(f"{purpose}:{seed}:{epoch}:{block}".encode()).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
        blocks.append(draw(rng, BLOCK))
    return np.concatenate(blocks)[:size]


class PointStream(Dataset[Tensor]):
    """One epoch after another of a stream; with `fixed` the same points in every epoch.

    Args:
        draw: Draws points; see `points`.
        purpose: Keeps training, validation and test apart.
        seed: Seed of the stream.
        size: Points per epoch.
        fixed: Whether every epoch is the first.
    """

    def __init__(self, draw: Draw, purpose: str, seed: int, size: int, fixed: bool = False) -> None:
        self.draw = draw
        self.purpose = purpose
        self.seed = seed
        self.size = size
        self.fixed = fixed
        self.epoch = 0
        self._drawn: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Tensor:
        """One point, shape (2,)."""
        return self._table()[index]

    def __getitems__(self, rows: Sequence[int]) -> Tensor:
        """A batch, shape (B, 2), float32."""
        return self._table()[torch.as_tensor(rows)]

    def _table(self) -> Tensor:
        epoch = 0 if self.fixed else self.epoch
        if self._drawn is None or self._drawn[0] != epoch:
            drawn = points(self.draw, self.purpose, self.seed, epoch, self.size)
            self._drawn = epoch, torch.from_numpy(drawn).to(torch.float32)
        return self._drawn[1]


class EpochOrder(SequentialSampler):
    """The rows in order, with the epoch that Lightning sets; without a Trainer each pass is the next epoch.

    Points are independent, so that shuffling them would add nothing. A subclass of SequentialSampler, because
    Lightning then shares the rows out between processes without shuffling them.
    """

    def __init__(self, data: Dataset[Any]) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # PointStream has a length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the part of the stream; Lightning calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return super().__iter__()
