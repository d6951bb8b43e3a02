"""Couplings between more noise and data than one training batch holds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Couple = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class PooledPairs:
    """Gathers the data of several batches, couples them at once, and hands the pairs out batch by batch.

    Every data point is trained on once, as many steps later as there are batches in a pool. Until the first
    pool is full a batch is coupled by itself.

    Args:
        couple: The coupling of noise and data.
        batches: Batches in a pool.
    """

    def __init__(self, couple: Couple, batches: int) -> None:
        self.couple, self.batches = couple, batches
        self._gathered: list[Tensor] = []
        self._ready: list[tuple[Tensor, Tensor]] = []

    def next(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and data of the next batch.

        Args:
            x: Data of the present batch, shape (batch, …), which joins the pool.

        Returns:
            Shapes (batch', …), batch' being the size of an earlier batch.
        """
        self._gathered.append(x.detach())
        found = self._ready.pop() if self._ready else None
        if len(self._gathered) == self.batches:
            self._ready = self._coupled()
        return found or self.couple(torch.randn_like(x), x)

    def _coupled(self) -> list[tuple[Tensor, Tensor]]:
        """The pairs of the full pool, in random order, in parts of the sizes of its batches."""
        sizes = [len(part) for part in self._gathered]
        data = torch.cat(self._gathered)
        self._gathered = []
        x0, x1 = self.couple(torch.randn_like(data), data)
        order = torch.randperm(len(x0), device=x0.device)
        return list(zip(torch.split(x0[order], sizes), torch.split(x1[order], sizes), strict=True))
