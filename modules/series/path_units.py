"""Units in which paths have mean 0 and a chosen deviation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class PathUnits(nn.Module):
    """Mean and deviation of each channel over all paths and times, kept with the weights.

    Args:
        channels: Values of one observation.
        spread: Deviation of what `scaled` returns for the paths that were measured.
    """

    shift: Tensor
    scale: Tensor
    known: Tensor

    def __init__(self, channels: int, spread: float) -> None:
        super().__init__()
        self.spread = spread
        self.register_buffer("shift", torch.zeros(channels))
        self.register_buffer("scale", torch.full((channels,), 1 / spread))
        self.register_buffer("known", torch.tensor(False))

    @property
    def measured(self) -> bool:
        """Whether the units are known; until then a batch's own deviation is taken for 1."""
        return bool(self.known)

    @torch.no_grad()
    def measure(self, batches: Iterable[Tensor]) -> None:
        """Take the units of paths in batches of shape (batch, length, channels).

        A constant channel keeps that of the batches.
        """
        rows = torch.cat([x.detach().flatten(0, 1).double().cpu() for x in batches])
        deviation = rows.std(dim=0, correction=0)
        self.shift.copy_(rows.mean(dim=0))
        self.scale.copy_(torch.where(deviation > 0, deviation, 1.0) / self.spread)
        self.known.fill_(True)

    def scaled(self, x: Tensor) -> Tensor:
        """Paths (…, channels) of a batch in these units."""
        return (x - self.shift) / self.scale

    def restore(self, y: Tensor) -> Tensor:
        """Paths (…, channels) in these units as a batch has them; inverts `scaled`."""
        return y * self.scale + self.shift
