"""The image itself as hidden state: the nets of the augmented, second-order and heavy-ball papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..base import DynamicsMaker, Stage
from ..net import BenchNet
from .fields import TimeConv2d
from .shared import ImageBench


class ConvField(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with ReLU between; t enters each as one more channel, and no norm.

    Dupont et al. 2019, appendix; Xia et al. 2021 use the same.

    Args:
        channels: Channels of the state.
        out_channels: Channels of f; the same as `channels` where omitted.
        hidden: Channels between the convolutions.
        time_dependent: Whether t enters.
    """

    def __init__(
        self, channels: int, out_channels: int | None = None, hidden: int = 64, time_dependent: bool = True
    ) -> None:
        super().__init__()
        self.conv1 = TimeConv2d(channels, hidden, 1, time_dependent)
        self.conv2 = TimeConv2d(hidden, hidden, 3, time_dependent)
        self.conv3 = TimeConv2d(hidden, out_channels or channels, 1, time_dependent)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate at the scalar time t and the state h of shape (batch, channels, height, width)."""
        h = torch.relu(self.conv1(t, h))
        h = torch.relu(self.conv2(t, h))
        result: Tensor = self.conv3(t, h)
        return result


class ImageMomentum(nn.Module):
    """[h; m](0) from the image x: its own channels first, all others from a small convolutional net.

    Xia et al. 2021; 1×1, 3×3 and 1×1 convolutions with leaky ReLU of slope 0.3.

    Args:
        image_channels: Channels of x.
        channels: Channels of h, no fewer than those of x.
        hidden: Channels between the convolutions.
    """

    def __init__(self, image_channels: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(image_channels, hidden, 1),
            nn.LeakyReLU(0.3),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.LeakyReLU(0.3),
            nn.Conv2d(hidden, 2 * channels - image_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, image_channels, height, width) to (batch, 2 · channels, height, width)."""
        return torch.cat([x, self.net(x)], dim=1)


class ImageState(ImageBench):
    """No stem: the solver moves the image at its full resolution, and one linear layer reads all of it.

    `channels` is the number of channels of the image, or for families with momentum that of h, of which the
    image is the first part.

    Args:
        hidden: Channels inside the field, and inside the net that makes the initial momentum.

    Raises:
        UsageError: hidden is below 1.
    """

    def __init__(self, hidden: int = 64) -> None:
        if hidden < 1:
            raise UsageError(f"hidden must be at least 1, got {hidden}", "set model.layout.hidden")
        self.hidden = hidden

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The authors' field."""
        return ConvField(channels, out_channels, self.hidden, time_dependent)

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage on the image; see `Bench.assemble`."""
        image_channels, height, width = spec.input_shape
        if channels < image_channels:
            raise UsageError(
                f"channels={channels} cannot hold an image of {image_channels} channels",
                f"set model.channels to {image_channels} or more",
            )

        def momentum(state_channels: int) -> nn.Module:
            return ImageMomentum(image_channels, state_channels, self.hidden)

        dynamics = make(Stage(channels, self.field, momentum, axes=2))
        lifted = any(isinstance(module, ImageMomentum) for module in dynamics.modules())
        if channels != image_channels and not lifted:
            raise UsageError(
                f"channels={channels}, but the state is the image, which has {image_channels} channels",
                f"set model.channels to {image_channels}",
            )
        size = dynamics.out_channels * math.prod((height, width))
        head = nn.Sequential(nn.Flatten(), nn.Linear(size, outputs))
        return BenchNet(nn.Identity(), dynamics, head)
