"""Which values does a series take at other times?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from ..spec import Forecast, SeriesSpec, Spec
from .base import Task


class Forecasting(Task):
    """Values at the times asked for, by the mean squared error over what was observed there.

    Loss and metrics are in the units of a batch, in which every channel counts alike where the data set
    scales them; predictions are in the units of the raw channels.
    """

    name = "forecasting"
    title = "which values a series takes at other times"
    monitor = "val/mse"
    spec: SeriesSpec

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec, SeriesSpec)
        ones, zeros = [1.0] * spec.channels, [0.0] * spec.channels
        # not in checkpoints: they come with the data set
        self.register_buffer("scales", torch.tensor(spec.scales or ones), persistent=False)
        self.register_buffer("shifts", torch.tensor(spec.shifts or zeros), persistent=False)

    @classmethod
    def asks(cls, spec: Spec) -> bool:
        """Series with times to forecast."""
        return isinstance(spec, SeriesSpec) and isinstance(spec.question, Forecast)

    @property
    def outputs(self) -> int:
        """One number for each channel, at each time."""
        return self.spec.channels

    def measures(self) -> Mapping[str, Metric]:
        """Mean squared and mean absolute error over all observed values."""
        return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}

    def loss(self, said: Tensor, target: Tensor) -> Tensor:
        """Mean squared error over what was observed; 0 where nothing was.

        Args:
            said: Shape (batch, n, channels).
            target: Likewise, NaN where nothing was observed.
        """
        known = ~target.isnan()
        error = torch.where(known, said - target.nan_to_num(), 0.0)
        return error.square().sum() / known.sum().clamp(min=1)

    def compared(self, said: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What was observed, all channels in one row."""
        known = ~target.isnan()
        return said[known], target[known]

    def answer(self, said: Tensor) -> Tensor:
        """Values in the units of the raw channels."""
        scales, shifts = self.get_buffer("scales").to(said), self.get_buffer("shifts").to(said)
        return said * scales + shifts
