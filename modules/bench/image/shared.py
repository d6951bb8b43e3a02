"""The bench that all families share on images: strided stem, one stage, pooled head."""

from __future__ import annotations

import math

from torch import nn

from integrand.errors import UsageError
from integrand.spec import ImageSpec, Spec

from ..base import Bench, DynamicsMaker, Stage, with_equal_ends
from ..net import BenchNet
from ..norm import group_norm
from .fields import MomentumLift, PreActivationField


class ImageBench(Bench):
    """Base of the benches for images."""

    takes = ImageSpec


def halvings(height: int, width: int, target: int = 8) -> int:
    """How many stride-2 convolutions bring the longer side down to `target`: 2 for 28 and 32, 0 for 8."""
    return max(0, math.ceil(math.log2(max(height, width) / target)))


class Stem(nn.Sequential):
    """3×3 convolutions from the image to the hidden state, halving the side as often as asked.

    Args:
        in_channels: Channels of the image.
        channels: Channels of the hidden state.
        downsample: Number of stride-2 convolutions; with 0 one convolution of stride 1.
    """

    def __init__(self, in_channels: int, channels: int, downsample: int) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 3, stride=2 if downsample else 1, padding=1)
        ]
        for _ in range(downsample - 1):
            layers += [
                group_norm(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            ]
        super().__init__(*layers)


class Head(nn.Sequential):
    """Group norm, ReLU, mean over space, linear: the end of a pre-activation net.

    Args:
        channels: Channels of the final state.
        outputs: Numbers that the network says.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(
            group_norm(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, outputs),
        )


class SharedLayout(ImageBench):
    """The shared bench: strided stem to at most 8×8 pixels, one stage, norm–ReLU–mean–linear head.

    Args:
        downsample: Number of halvings in the stem; by default as many as bring the side to 8 pixels or fewer.
    """

    def __init__(self, downsample: int | None = None) -> None:
        self.downsample = downsample

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage; see `Bench.assemble`."""
        in_channels, height, width = spec.input_shape
        steps = halvings(height, width) if self.downsample is None else self.downsample
        if not 0 <= steps < min(height, width).bit_length():
            raise UsageError(
                f"downsample={steps} does not fit images of {height}×{width}", "set model.downsample lower"
            )
        dynamics = make(Stage(channels, PreActivationField, MomentumLift, axes=2))
        return with_equal_ends(
            dynamics,
            lambda: Stem(in_channels, channels, steps),
            lambda: Head(dynamics.out_channels, outputs),
        )
