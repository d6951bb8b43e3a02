"""Convolutions at full resolution: a small field for images."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError

from .base import Backbone, TimeNet, check_sizes, time_column


class Conv(Backbone):
    """3×3 convolutions with softplus between, t as one more channel of each: FFJORD's field, unsqueezed.

    Args:
        hidden: Channels between the convolutions.
        layers: Number of hidden layers.
    """

    def __init__(self, hidden: int = 32, layers: int = 3) -> None:
        check_sizes(hidden=hidden, layers=layers)
        self.hidden, self.layers = hidden, layers

    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """See `Backbone.build`."""
        if len(shape) != 3:
            raise UsageError(f"Conv takes images, not samples of shape {shape}", "choose MLP for points")
        if num_classes:
            raise UsageError("Conv is not conditional", "leave the classes out")
        return ConvNet(shape[0], self.hidden, self.layers)


class ConvNet(TimeNet):
    """The network of `Conv`.

    Args:
        channels: Channels of an image.
        hidden: Channels between the convolutions.
        layers: Number of hidden layers.
    """

    def __init__(self, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [channels] + [hidden] * layers + [channels]
        self.layers = nn.ModuleList(nn.Conv2d(a + 1, b, 3, padding=1) for a, b in pairwise(widths))

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Evaluate on images of shape (batch, channels, height, width); see `TimeNet.forward`."""
        time = time_column(t).to(x.dtype)[:, :, None, None].expand(len(x), 1, *x.shape[2:])
        for number, layer in enumerate(self.layers):
            x = layer(torch.cat([F.softplus(x) if number else x, time], dim=1))
        return x
