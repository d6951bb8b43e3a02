"""All pixels as one vector: the net of "Learning Differential Equations that are Easy to Solve"."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..base import DynamicsMaker, Stage, with_equal_ends
from ..net import BenchNet
from ..vector import VectorMomentum
from .shared import ImageBench


class SigmoidField(nn.Module):
    """f(t, h) = W₂ [s(W₁ [s(h); t] + b₁); t] + b₂ s logistic (Kelly et al. 2020, their code).

    Args:
        channels: Length of the state.
        out_channels: Length of f; the same as `channels` where omitted.
        hidden: Width of the hidden layer.
        time_dependent: Whether t enters.
    """

    def __init__(
        self, channels: int, out_channels: int | None = None, hidden: int = 100, time_dependent: bool = True
    ) -> None:
        super().__init__()
        self.time_dependent = time_dependent
        self.first = nn.Linear(channels + int(time_dependent), hidden)
        self.second = nn.Linear(hidden + int(time_dependent), out_channels or channels)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate at the scalar time t and the state h of shape (batch, channels)."""
        for layer in (self.first, self.second):
            h = torch.sigmoid(h)
            if self.time_dependent:
                h = torch.cat([h, t.to(h.dtype).expand(h.shape[0], 1)], dim=1)
            h = layer(h)
        return h


class FlatImageState(ImageBench):
    """No stem: the solver moves the vector of all pixels, and a linear layer reads its logistic function.

    `channels` is the number of pixels times that of the image's channels.

    Args:
        hidden: Width of the field's hidden layer.

    Raises:
        UsageError: hidden is below 1.
    """

    def __init__(self, hidden: int = 100) -> None:
        if hidden < 1:
            raise UsageError(f"hidden must be at least 1, got {hidden}", "set model.layout.hidden")
        self.hidden = hidden

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The authors' field."""
        return SigmoidField(channels, out_channels, self.hidden, time_dependent)

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage on the pixels; see `Bench.assemble`."""
        size = math.prod(spec.input_shape)
        if channels != size:
            raise UsageError(
                f"channels={channels}, but the state is the image, which has {size} numbers",
                f"set model.channels to {size}",
            )
        dynamics = make(Stage(channels, self.field, lambda n: VectorMomentum(n, self.hidden), axes=0))

        def head() -> nn.Module:
            return nn.Sequential(nn.Sigmoid(), nn.Linear(dynamics.out_channels, outputs))

        return with_equal_ends(dynamics, nn.Flatten, head)
