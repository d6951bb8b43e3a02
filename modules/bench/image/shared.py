"""The bench that all families share on images: strided stem, one stage, pooled head."""

from __future__ import annotations

import math
from functools import partial

from torch import nn

from integrand.errors import UsageError
from integrand.spec import ImageSpec, Spec

from ..base import Bench, DynamicsMaker, Stage, with_equal_ends
from ..net import BenchNet
from ..norm import FieldNorm, group_norm
from .fields import MomentumLift, PreActivationField
from .head import Head, ReadOut


class ImageBench(Bench):
    """Base of the benches for images."""

    takes = ImageSpec


def halvings(height: int, width: int, target: int = 8) -> int:
    """How many stride-2 convolutions bring the longer side down to `target`: 2 for 28 and 32, 0 for 8.

    No more than leave the shorter side a pixel that is not padding: 2 for 7×33.
    """
    wanted = max(0, math.ceil(math.log2(max(height, width) / target)))
    return min(wanted, most_halvings(height, width))


def most_halvings(height: int, width: int) -> int:
    """How often the shorter side can be halved until it is one pixel."""
    return min(height, width).bit_length() - 1


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


class SharedLayout(ImageBench):
    """The shared bench: strided stem to at most 8×8 pixels, one stage, norm–ReLU–mean–norm–linear head.

    Args:
        downsample: Number of halvings in the stem; by default as many as bring the longer side to 8 pixels
            or fewer, if the shorter one allows it.
        head: Norm of the head and where it stands.
        norm: Norm of the residual functions or fields: of single samples, because a field is evaluated often.

    Raises:
        UsageError: The norm is unknown, or the family has layers of its own.
    """

    def __init__(
        self, downsample: int | None = None, head: ReadOut = "pooled_batch", norm: FieldNorm = "group"
    ) -> None:
        self.downsample = downsample
        self.head = head
        self.norm = norm

    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """One stage; see `Bench.assemble`."""
        in_channels, height, width = spec.input_shape
        steps = halvings(height, width) if self.downsample is None else self.downsample
        if not 0 <= steps <= most_halvings(height, width):
            raise UsageError(
                f"downsample={steps} does not fit images of {height}×{width}", "set model.downsample lower"
            )
        dynamics = make(Stage(channels, partial(PreActivationField, norm=self.norm), MomentumLift, axes=2))
        if self.norm != "group" and not any(isinstance(m, PreActivationField) for m in dynamics.modules()):
            raise UsageError(
                "the family has layers of its own, whose norm is its own option",
                "leave model.layout.norm out",
            )
        pixels = math.prod(math.ceil(side / 2**steps) for side in (height, width))
        return with_equal_ends(
            dynamics,
            lambda: Stem(in_channels, channels, steps),
            lambda: Head(dynamics.out_channels, outputs, self.head, pixels),
        )
