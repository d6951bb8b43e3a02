"""The first nets of a neural ODE and a neural SDE on images: convolutions, one stage, norms of 32 groups."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..base import DynamicsMaker, Stage, with_equal_ends
from ..net import BenchNet
from .fields import MomentumLift, TimeConv2d
from .shared import ImageBench


def grouped_norm(channels: int) -> nn.GroupNorm:
    """Group norm with 32 groups, or one for each channel where there are fewer.

    Raises:
        UsageError: The channels do not divide into 32 groups.
    """
    groups = min(32, channels)
    if channels % groups:
        raise UsageError(
            f"{channels} channels do not divide into {groups} groups",
            "set model.channels to at most 32, or to a multiple of it",
        )
    return nn.GroupNorm(groups, channels)


class NormedField(nn.Module):
    """norm–ReLU–conv, once or more, then norm; t enters every convolution as one more channel.

    With two convolutions that of Chen et al. 2018, with three that of Liu et al. 2019 (their code).

    Args:
        channels: Channels of the state.
        out_channels: Channels of f; the same as `channels` where omitted.
        convs: Number of 3×3 convolutions.
        time_dependent: Whether t enters.
    """

    def __init__(
        self, channels: int, out_channels: int | None = None, convs: int = 2, time_dependent: bool = True
    ) -> None:
        super().__init__()
        widths = [channels, *[out_channels or channels] * convs]
        self.norms = nn.ModuleList(grouped_norm(width) for width in widths)
        self.convs = nn.ModuleList(
            TimeConv2d(a, b, time_dependent=time_dependent) for a, b in itertools.pairwise(widths)
        )

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate at the scalar time t and the state h of shape (batch, channels, height, width)."""
        for norm, conv in zip(self.norms, self.convs, strict=False):
            h = conv(t, torch.relu(norm(h)))
        result: Tensor = self.norms[-1](h)
        return result


class NormedStage(ImageBench):
    """A 3×3 convolution, norm–ReLU–conv of 4×4 and stride 2, twice, one stage, and norm–ReLU–mean–linear.

    torchdiffeq's MNIST net (Chen et al. 2018) with 64 channels: 208,266 weights as neural ODE, 132,874
    without block. With `halvings: 0` and `convs: 3` the CIFAR net of the neural SDE (Liu et al. 2019, code).

    Args:
        halvings: Convolutions of stride 2 in the stem.
        convs: Convolutions of the field.

    Raises:
        UsageError: convs is below 1, or halvings below 0.
    """

    def __init__(self, halvings: int = 2, convs: int = 2) -> None:
        if convs < 1:
            raise UsageError(f"convs must be at least 1, got {convs}", "set model.layout.convs")
        if halvings < 0:
            raise UsageError(f"halvings must be 0 or more, got {halvings}", "set model.layout.halvings")
        self.halvings = halvings
        self.convs = convs

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The authors' field."""
        return NormedField(channels, out_channels, self.convs, time_dependent)

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage; see `Bench.assemble`."""
        in_channels, height, width = spec.input_shape
        # the first convolution has no padding
        if (min(height, width) - 2) >> self.halvings < 1:
            raise UsageError(
                f"images of {height}×{width} are too small for {self.halvings} halvings",
                "set model.layout.halvings lower",
            )
        dynamics = make(Stage(channels, self.field, MomentumLift, axes=2))

        def stem() -> nn.Module:
            layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3)]
            for _ in range(self.halvings):
                layers += [grouped_norm(channels), nn.ReLU(), nn.Conv2d(channels, channels, 4, 2, 1)]
            return nn.Sequential(*layers)

        def head() -> nn.Module:
            width = dynamics.out_channels
            pool = nn.AdaptiveAvgPool2d(1)
            read_out = nn.Linear(width, outputs)
            return nn.Sequential(grouped_norm(width), nn.ReLU(), pool, nn.Flatten(), read_out)

        return with_equal_ends(dynamics, stem, head)
