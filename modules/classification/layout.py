"""What surrounds the dynamics of a family and what it is made of: the shared bench, or a published net."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from integrand.errors import UsageError
from integrand.spec import DataSpec

from .dynamics import Dynamics
from .fields import PreActivationField
from .net import ClassifierNet, Head, Stem, halvings
from .ode import MomentumLift


class FieldMaker(Protocol):
    """Makes a residual function or vector field on feature maps, to be called as `field(t, h)`."""

    def __call__(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The field from `channels` to `out_channels`, the same number where omitted."""


@dataclass(frozen=True)
class Stage:
    """What a family builds the dynamics of one resolution from.

    Args:
        channels: Channels of the hidden state.
        extra: How many blocks this stage has more than the family was told; negative where the transition
            that leads to it is itself a block.
        field: Makes the residual functions or the vector field.
        momentum: Makes, from the channels of h, the net that lifts the hidden state to [h; m(0)].
    """

    channels: int
    extra: int = 0
    field: FieldMaker = PreActivationField
    momentum: Callable[[int], nn.Module] = MomentumLift

    def blocks(self, blocks: int) -> int:
        """Number of blocks of this stage where the family was told `blocks`.

        Raises:
            UsageError: None would be left.
        """
        if blocks >= 1 and blocks + self.extra < 1:
            raise UsageError(
                f"blocks={blocks} leaves no block after the transition of a stage",
                f"set model.blocks to {1 - self.extra} or more",
            )
        return blocks + self.extra


DynamicsMaker = Callable[[Stage], Dynamics]
"""What a family hands to its classifier so that it can be used with any layout."""


class Layout(ABC):
    """Builds the network around the dynamics of a family."""

    @abstractmethod
    def assemble(self, spec: DataSpec, channels: int, make: DynamicsMaker) -> ClassifierNet:
        """The whole network.

        Args:
            spec: What the data set publishes.
            channels: Channels of the hidden state, of the first stage where there are several.
            make: Makes the family's dynamics for one stage.

        Raises:
            UsageError: The layout does not fit the images, the channels or the family.
        """


class SharedLayout(Layout):
    """The shared bench: strided stem to at most 8×8 pixels, one stage, norm–ReLU–mean–linear head.

    Args:
        downsample: Number of halvings in the stem; by default as many as bring the side to 8 pixels or fewer.
    """

    def __init__(self, downsample: int | None = None) -> None:
        self.downsample = downsample

    def assemble(self, spec: DataSpec, channels: int, make: DynamicsMaker) -> ClassifierNet:
        """One stage; see `Layout.assemble`."""
        in_channels, height, width = spec.input_shape
        steps = halvings(height, width) if self.downsample is None else self.downsample
        if not 0 <= steps < min(height, width).bit_length():
            raise UsageError(
                f"downsample={steps} does not fit images of {height}×{width}", "set model.downsample lower"
            )
        dynamics = make(Stage(channels))
        with torch.random.fork_rng(devices=[]):
            # the same seed gives every family the same stem, whatever its dynamics drew: a paired comparison
            torch.manual_seed(torch.initial_seed())
            stem, head = Stem(in_channels, channels, steps), Head(dynamics.out_channels, spec.num_classes)
        return ClassifierNet(stem, dynamics, head)
