"""Batches of series: observations at times of their own, unequal lengths and missing values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Series:
    """What is known of a batch of series.

    Behind its last observation a series is padded: the last time is repeated, so that gaps there are 0, and
    the mask is False. Nothing may depend on the padding.

    Args:
        times: Times of the observations, never decreasing, shape (batch, n), float64.
        values: Observed values, 0 where the mask is False, shape (batch, n, channels).
        mask: Which values were observed, shape (batch, n, channels), bool.
        lengths: Number of observations, 1 or more, shape (batch,), int64.
        static: What is known of each series as a whole, shape (batch, s); s may be 0.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    lengths: Tensor
    static: Tensor

    def __len__(self) -> int:
        return len(self.times)

    @property
    def present(self) -> Tensor:
        """Which observations there are, shape (batch, n), bool."""
        return torch.arange(self.times.shape[1], device=self.lengths.device) < self.lengths[:, None]

    @property
    def gaps(self) -> Tensor:
        """Time since the observation before, 0 at the first, shape (batch, n), dtype of the values."""
        return self.times.diff(dim=1, prepend=self.times[:, :1]).to(self.values.dtype)

    @property
    def end(self) -> Tensor:
        """Time of the last observation, shape (batch,), float64."""
        return self.times[:, -1]

    def at(self, index: Tensor) -> Tensor:
        """Values at one observation of each series, shape (batch, channels).

        Args:
            index: Number of the observation, shape (batch,), int64.
        """
        return self.values[torch.arange(len(self), device=index.device), index]

    @property
    def last(self) -> Tensor:
        """Values at the last observation, shape (batch, channels)."""
        return self.at(self.lengths - 1)

    def __getitem__(self, samples: Tensor | slice) -> Series:
        """Some of the series."""
        return Series(*(part[samples] for part in self._parts))

    def map_values(self, dtype: torch.dtype) -> Series:
        """The batch with values and covariates in another precision."""
        return Series(self.times, self.values.to(dtype), self.mask, self.lengths, self.static.to(dtype))

    @property
    def _parts(self) -> tuple[Tensor, ...]:
        return self.times, self.values, self.mask, self.lengths, self.static


@dataclass
class Query:
    """What a forecast is asked for, and what came true.

    Args:
        times: Times asked for, never decreasing, shape (batch, n), float64; padded by repetition of the last.
        values: What was observed there, 0 where the mask is False, shape (batch, n, channels).
        mask: Which values were observed, shape (batch, n, channels), bool.
        rates: dx/dt at the last observation given, shape (batch, channels): training on derivatives; None
            where it is on the values.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    rates: Tensor | None = None

    @property
    def truth(self) -> Tensor:
        """The values, NaN where nothing was observed, shape (batch, n, channels)."""
        return self.values.masked_fill(~self.mask, torch.nan)
