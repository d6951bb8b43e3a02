"""Where a controlled equation starts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from integrand.series import Series
from integrand.spec import SeriesSpec

from .controls import Observed


class Initial(nn.Module):
    """z(t₀), linear in what is known there: the path's start, covariates, and the time where it matters.

    Args:
        spec: What the data set publishes.
        observed: The rows of the path.
        channels: Length of z.
    """

    def __init__(self, spec: SeriesSpec, observed: Observed, channels: int) -> None:
        super().__init__()
        self.tells_time, self.unit = not spec.autonomous, observed.unit
        self.linear = nn.Linear(observed.channels - 1 + int(self.tells_time) + spec.static, channels)

    def forward(self, x: Series, first: Tensor) -> Tensor:
        """The state at the first observation, shape (batch, channels).

        Args:
            x: The series.
            first: Where the path starts, shape (batch, path channels).
        """
        # the path's own time starts at 0
        parts = [first[:, 1:], x.static]
        if self.tells_time:
            parts.append((x.times[:, :1] / self.unit).to(x.values.dtype))
        value: Tensor = self.linear(torch.cat(parts, dim=1))
        return value
