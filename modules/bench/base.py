"""What surrounds the dynamics of a family: the contract of every bench, and what a family builds from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import nn

from integrand.errors import UsageError
from integrand.spec import Spec, plural

from .dynamics import Dynamics
from .net import BenchNet


class FieldMaker(Protocol):
    """Makes a residual function or vector field, to be called as `field(t, h)`."""

    def __call__(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """The field from `channels` to `out_channels`, the same number where omitted."""


@dataclass(frozen=True)
class Stage:
    """What a family builds the dynamics of one stage from, whatever its states are.

    Args:
        channels: Channels of the hidden state, its dimension 1.
        make: Makes the residual functions or the vector field; see `field`.
        momentum: Makes, from the channels of h, the net that lifts the hidden state to [h; m(0)].
        axes: Axes of a state behind its channels: 2 for feature maps, 0 for vectors.
        extra: How many blocks this stage has more than the family was told; negative where the transition
            that leads to it is itself a block.
        timed: Whether fields see the time where a family was not told: in depth each moment may have a law
            of its own, in nature few systems do.
    """

    channels: int
    make: FieldMaker
    momentum: Callable[[int], nn.Module]
    axes: int
    extra: int = 0
    timed: bool = True

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool | None = False
    ) -> nn.Module:
        """A residual function or vector field.

        Args:
            channels: Channels of the state that it reads.
            out_channels: Channels of its value; the same as `channels` where omitted.
            time_dependent: Whether it sees the time; None leaves it to `timed`.
        """
        return self.make(channels, out_channels, self.timed if time_dependent is None else time_dependent)

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
"""The equation of a family: what it hands over so that it can be used on every bench."""


class Bench(ABC):
    """Builds the network around the dynamics of a family, for one kind of input."""

    takes: ClassVar[type[Spec]]
    """The kind of input."""
    transitions: ClassVar[bool] = False
    """Whether it has blocks of its own between stages."""

    def width(self, spec: Spec, channels: int | None) -> int:
        """Channels of the hidden state where a family was told `channels`, None for nothing."""
        return check_channels(32 if channels is None else channels)

    @abstractmethod
    def assemble(self, spec: Spec, channels: int, make: DynamicsMaker, outputs: int) -> BenchNet:
        """The whole network.

        Args:
            spec: What the data set publishes.
            channels: Channels of the hidden state, of the first stage where there are several.
            make: Makes the family's dynamics for one stage.
            outputs: Numbers that the network has to say about one input.

        Raises:
            UsageError: The bench does not fit the inputs, the channels or the family.
        """

    def check(self, spec: Spec) -> None:
        """Refuse inputs of another kind.

        Raises:
            UsageError: They are.
        """
        if not isinstance(spec, self.takes):
            raise UsageError(
                f"{type(self).__name__} is for {plural(self.takes.kind)}, "
                f"but {spec.name} holds {plural(spec.kind)}",
                "leave model.layout out, or choose one for the data",
            )


def with_equal_ends(
    dynamics: Dynamics, stem: Callable[[], nn.Module], head: Callable[[], nn.Module]
) -> BenchNet:
    """The network whose stem and head start alike for every family: a paired comparison.

    Args:
        dynamics: Already made; what it drew does not change what follows.
        stem: Makes the stem.
        head: Makes the head.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed())
        return BenchNet(stem(), dynamics, head())


def check_channels(channels: int) -> int:
    """`channels`, if it is a possible width.

    Raises:
        UsageError: It is below 1.
    """
    if channels < 1:
        raise UsageError(f"channels must be at least 1, got {channels}", "set model.channels")
    return channels
