"""Reversible residual network (Gomez et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from integrand.spec import Spec

from ..bench import BenchFamily, FieldMaker, Stage
from .reversible import Coupling, ReversibleDynamics
from .stepping import State, require_even


class HalvesDynamics(ReversibleDynamics):
    """Reversible steps on the two halves of the channels; the head reads both.

    Args:
        channels: Channels of the hidden state, even.
        blocks: Number N of steps, 1 or more.
        h: Step size.
        reversible_backward: See `ReversibleDynamics`.

    Raises:
        UsageError: channels is odd.
    """

    def __init__(self, channels: int, blocks: int, h: float = 1.0, reversible_backward: bool = True) -> None:
        super().__init__(require_even(channels), blocks, h, reversible_backward)
        self.width = channels // 2

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first and the second half of the channels."""
        first, second = x.chunk(2, dim=1)
        return first, second

    def read(self, n: int, state: State) -> Tensor:
        """Both halves."""
        return torch.cat(state, dim=1)


class RevNetDynamics(HalvesDynamics):
    """y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁), with the inverse x₂ = y₂ − G(y₁), x₁ = y₁ − F(x₂).

    Args:
        channels: Channels of the hidden state, even.
        blocks: Number of blocks, 1 or more.
        reversible_backward: See `ReversibleDynamics`.
        field: Makes the residual functions.
        axes: Axes of a state behind its channels.
    """

    scheme = "revnet"

    def __init__(
        self,
        channels: int,
        blocks: int,
        reversible_backward: bool,
        field: FieldMaker,
        axes: int = 2,
    ) -> None:
        super().__init__(channels, blocks, reversible_backward=reversible_backward)
        self.f = nn.ModuleList(field(self.width) for _ in range(blocks))
        self.g = nn.ModuleList(field(self.width) for _ in range(blocks))
        self.check_reversible(axes)

    def residuals(self) -> list[nn.Module]:
        """F and G of every block."""
        return [*self.f, *self.g]

    def couplings(self, n: int) -> Sequence[Coupling]:
        """F changes the first half, then G the second."""
        return Coupling(0, self.f[n]), Coupling(1, self.g[n])


class RevNet(BenchFamily):
    """Reversible residual network: two halves of the channels take turns in changing each other.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state, even; each residual function sees half of them.
        blocks: Number of blocks, of two residual functions each.
        reversible_backward: Whether the backward pass recomputes the activations from the output.
        **kwargs: See `BenchFamily`.
    """

    family = "revnet"
    title = "RevNet"
    group = "discrete"
    equation = "y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁)"
    reference = "Gomez et al. 2017, The Reversible Residual Network"
    reversible = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 4,
        reversible_backward: bool = True,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> RevNetDynamics:
            n = stage.blocks(blocks)
            return RevNetDynamics(stage.channels, n, reversible_backward, stage.field, stage.axes)

        super().__init__(spec, make, channels=channels, **kwargs)
