"""What an evaluation of generated paths adds up for its figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..figures import Picture, paths_figure
from ..outcome import Outcome
from .base import Tally

SHOWN = 30
"""Paths of either kind that are drawn."""


class Paths(Tally):
    """Moments of samples and data at each time, and a few paths of the first batch.

    Args:
        times: Times of the observations, shape (n,).
        names: Name of each channel.
    """

    def __init__(self, times: Tensor, names: Sequence[str]) -> None:
        self.times, self.names = times, names
        self.paths: list[Tensor] = []
        # of samples and of data: count, x, x²
        self.sums = torch.zeros(2, 3, len(times), len(names), dtype=torch.float64)

    def see(self, outcome: Outcome) -> None:
        """Take up one batch."""
        if outcome.prediction is None or outcome.target is None:
            return
        both = [x.detach().double().cpu() for x in (outcome.prediction, outcome.target)]
        if not self.paths:
            self.paths = [x[:SHOWN] for x in both]
        for sums, x in zip(self.sums, both, strict=True):
            known = ~x.isnan()
            x = x.nan_to_num()
            sums += torch.stack([known.double(), x, x * x]).sum(dim=1)

    def merge(self, total: Callable[[Tensor], Tensor]) -> None:
        """Take in what the other processes have seen."""
        self.sums = total(self.sums)

    def draw(self, stage: str) -> Iterable[Picture]:
        """One figure, where anything was seen."""
        if not self.paths:
            return
        count, first, second = self.sums.unbind(dim=1)
        mean = first / count
        std = (second / count - mean**2).clamp_min(0).sqrt()
        yield paths_figure(
            self.times.numpy(), [x.numpy() for x in self.paths], mean.numpy(), std.numpy(), self.names, stage
        )
