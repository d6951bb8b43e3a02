"""GRU-D: what is missing decays to the mean, and so does the hidden state to 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.series import Series
from integrand.spec import SeriesSpec, Spec

from .asked_times import with_times
from .base import Said, SeriesFamily
from .observations import rows, told_size
from .units import time_unit


class Decay(nn.Module):
    """γ = exp(−max(0, W δ + b)), eq. 3 of the reference.

    Args:
        channels: Length of δ.
        out: Length of γ with a full matrix W; one number for each channel (a diagonal W) where not given.
    """

    def __init__(self, channels: int, out: int | None = None) -> None:
        super().__init__()
        # positive: a decay that the maximum cuts off has no gradient
        scale = 0.1 if out is None else 0.1 / channels
        self.weight = nn.Parameter(torch.rand(channels if out is None else (channels, out)) * scale)
        self.bias = nn.Parameter(torch.full((channels if out is None else out,), 0.01))

    def forward(self, delta: Tensor) -> Tensor:
        """Between 0 and 1, shape (…, channels) or (…, out), for δ of shape (…, channels)."""
        rate = delta * self.weight if self.weight.ndim == 1 else delta @ self.weight
        return torch.exp(-torch.relu(rate + self.bias))


class GRUDCell(nn.Module):
    """The recurrence of GRU-D on whole series.

    Args:
        spec: Channels and static numbers.
        width: Length of the hidden state.
        unit: Unit of time of the gaps.
    """

    def __init__(self, spec: SeriesSpec, width: int, unit: float) -> None:
        super().__init__()
        self.unit = unit
        self.input_decay = Decay(spec.channels)
        self.hidden_decay = Decay(spec.channels, width)
        self.mean = nn.Parameter(torch.zeros(spec.channels))
        self.cell = nn.GRUCell(told_size(spec, gaps=False), width)

    def imputed(self, x: Series, delta: Tensor) -> Tensor:
        """Values, and between the last one and the mean where none was observed; shape of the values.

        Args:
            x: The series.
            delta: Time since each channel's last observation, shape (batch, n, channels).
        """
        last, known = last_observed(x)
        decay = self.input_decay(delta)
        guess = torch.where(known, decay * last + (1 - decay) * self.mean, self.mean)
        return torch.where(x.mask, x.values, guess)

    def forward(self, x: Series) -> Tensor:
        """States after every observation, shape (batch, n, width)."""
        delta = time_since_observed(x) / self.unit
        static = x.static[:, None].expand(-1, x.times.shape[1], -1)
        inputs = torch.cat((self.imputed(x, delta), x.mask.to(delta), static), -1).unbind(1)
        h = x.values.new_zeros(len(x), self.cell.hidden_size)
        states = []
        for told, decay in zip(inputs, self.hidden_decay(delta).unbind(1), strict=True):
            h = self.cell(told, decay * h)
            states.append(h)
        return torch.stack(states, 1)


class GRUD(SeriesFamily):
    """A GRU with trainable decays of input and hidden state between observations.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the hidden state.
        unit: Unit of time of the gaps; the median gap of the data where not given.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: The unit is not positive.
    """

    family = "gru-d"
    title = "GRU-D"
    group = "series"
    equation = (
        "x̂ = m x + (1 − m)(γ_x x_{last} + (1 − γ_x) x̄), h_i = GRU([x̂; m], γ_h h_{i−1}), "
        "γ = exp(−max(0, Wδ + b))"
    )
    reference = (
        "Che et al. 2018, Recurrent Neural Networks for Multivariate Time Series with Missing Values, "
        "eqs. 3–9"
    )

    def __init__(self, spec: Spec, channels: int = 32, unit: float | None = None, **kwargs: Any) -> None:
        super().__init__(spec, channels, **kwargs)
        self.recurrence = GRUDCell(self.spec, channels, time_unit(self.spec.step, unit))

    def read(self, x: Series) -> Said:
        """The state at the last observation."""
        return rows(self.recurrence(x), x.lengths[:, None] - 1)[:, 0], []

    def forecast(self, x: Series, times: Tensor) -> Said:
        """The head of the state at each time, where nothing is observed."""
        whole, place = with_times(x, times)
        return self.head(rows(self.recurrence(whole), place)), []


def last_observed(x: Series) -> tuple[Tensor, Tensor]:
    """Each channel's last value at or before every observation, and whether there is one.

    Returns:
        Values, 0 where there is none, and bool, both of the shape of the values.
    """
    number = torch.arange(x.times.shape[1], device=x.mask.device)[:, None]
    last = torch.where(x.mask, number, -1).cummax(1).values
    return x.values.gather(1, last.clamp(min=0)), last >= 0


def time_since_observed(x: Series) -> Tensor:
    """Time since each channel's last observation before this one, shape and dtype of the values.

    Where there is none it is the time since the first observation of the series.
    """
    n = x.times.shape[1]
    number = torch.arange(n, device=x.mask.device)[:, None]
    last = torch.where(x.mask, number, 0).cummax(1).values
    before = torch.cat((torch.zeros_like(last[:, :1]), last[:, :-1]), 1)
    wide = x.times[..., None].expand(-1, -1, x.mask.shape[-1])
    return (wide - wide.gather(1, before)).to(x.values.dtype)
