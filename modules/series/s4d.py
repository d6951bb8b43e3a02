"""Diagonal state-space layers: the baseline that is a linear differential equation (Gu et al. 2022)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.spec import Classes, Spec, Targets

from .base import Said, SeriesFamily
from .scans import affine_scan
from .stack import Stack, mean_over


class DiagonalStateSpace(nn.Module):
    """ẋ = Ax + u, y = 2 Re Cx + Du for every channel by itself, exact for an input that is held over a gap.

    A = −e^a + iω starts at −1/2 + iπn (S4D-Lin), B = 1.

    Args:
        channels: Number of channels.
        states: States of each channel, even: half of them, whose conjugates are the others.
        dt_min: Smallest Δ of a nominal gap at the start.
        dt_max: Largest.
        convolve: Whether gaps are all nominal, so that the layer is a convolution.

    Raises:
        UsageError: Sizes or Δ out of their domains.
    """

    def __init__(self, channels: int, states: int, dt_min: float, dt_max: float, convolve: bool) -> None:
        super().__init__()
        if states < 2 or states % 2 or not 0 < dt_min <= dt_max:
            raise UsageError(
                f"states={states}, dt_min={dt_min}, dt_max={dt_max}",
                "set model.states to an even number, and 0 < model.dt_min <= model.dt_max",
            )
        self.convolve, half = convolve, states // 2
        self.log_decay = nn.Parameter(torch.full((channels, half), math.log(0.5)))
        self.frequency = nn.Parameter((math.pi * torch.arange(half)).expand(channels, -1).clone())
        low, high = math.log(dt_min), math.log(dt_max)
        self.log_dt = nn.Parameter(low + (high - low) * torch.rand(channels))
        # E|C|² = 1
        self.c = nn.Parameter(torch.randn(channels, half, 2) / math.sqrt(2))
        self.d = nn.Parameter(torch.ones(channels))

    def forward(self, u: Tensor, gaps: Tensor) -> Tensor:
        """From (batch, n, channels) to the same.

        Args:
            u: Input; u_k is held over the gap that ends with observation k.
            gaps: That gap in nominal ones, shape (batch, n).
        """
        y = self._convolved(u) if self.convolve else self._recurrent(u, gaps)
        return torch.addcmul(y, self.d, u)

    def _recurrent(self, u: Tensor, gaps: Tensor) -> Tensor:
        a, c = self._spectrum()
        # (batch, n, channels, half)
        growth = torch.expm1((a * self.log_dt.exp()[:, None]) * gaps[..., None, None])
        # the state times A, so that the division falls to C
        x = affine_scan(growth + 1, growth * u.unsqueeze(-1))
        y: Tensor = 2 * (x * (c / a)).sum(dim=-1).real
        return y

    def _convolved(self, u: Tensor) -> Tensor:
        n = u.shape[1]
        a, c = self._spectrum()
        rise = a * self.log_dt.exp()[:, None]
        steps = torch.arange(n, device=u.device)
        powers = (rise.unsqueeze(-1) * steps).exp()
        kernel = 2 * torch.einsum("hs,hsn->hn", c * torch.expm1(rise) / a, powers).real
        spectrum = torch.fft.rfft(u, 2 * n, dim=1) * torch.fft.rfft(kernel.T, 2 * n, dim=0)
        y: Tensor = torch.fft.irfft(spectrum, 2 * n, dim=1)[:, :n]
        return y

    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """A and C, shape (channels, half), complex."""
        return torch.complex(-self.log_decay.exp(), self.frequency), torch.view_as_complex(self.c)


class S4D(SeriesFamily):
    """Stack of diagonal state-space layers.

    On complete, evenly spaced series a layer is a convolution, else a recurrence over the gaps: two ways to
    compute the same. Missing values are 0, and the mask is an input. The authors give A and Δ a learning rate
    of their own and no weight decay; here all weights share the optimiser.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels between the layers.
        states: States of each channel, even.
        depth: Number of layers.
        dropout: Probability of dropping an entry between layers in training.
        dt_min: Smallest Δ of the median gap at the start.
        dt_max: Largest.
        **kwargs: See `SeriesFamily`.
    """

    family = "s4d"
    title = "S4D"
    group = "series"
    answers = (Classes, Targets)
    equation = "ẋ = Ax + u, y = 2 Re Cx + Du, A diagonal, by zero-order hold"
    reference = "Gu et al. 2022, On the Parameterization and Initialization of Diagonal State Space Models"

    def __init__(
        self,
        spec: Spec,
        channels: int = 64,
        states: int = 32,
        depth: int = 2,
        dropout: float = 0.0,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        even = not (self.spec.irregular or self.spec.missing)
        inputs = self.spec.channels * (1 + int(self.spec.missing)) + self.spec.static
        self.stack = Stack(
            inputs,
            channels,
            depth,
            lambda: DiagonalStateSpace(channels, states, dt_min, dt_max, convolve=even),
            dropout,
        )
        self.stochastic = dropout > 0

    def read(self, x: Series) -> Said:
        """Mean of the last layer over the observations; see `SeriesFamily.read`."""
        parts = [x.values, x.static.unsqueeze(1).expand(-1, x.values.shape[1], -1)]
        if self.spec.missing:
            parts.insert(1, x.mask.to(x.values.dtype))
        gaps = x.gaps / self.spec.step
        gaps = torch.cat((torch.ones_like(gaps[:, :1]), gaps[:, 1:]), dim=1)
        return mean_over(self.stack(torch.cat(parts, dim=-1), gaps), x.present), []
