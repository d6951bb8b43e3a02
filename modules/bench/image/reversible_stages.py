"""Stages of the reversible CIFAR nets, whose state is split in two halves of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..stages import Evaluate, Transition
from .cifar import CIFARStages, Norm, ResidualFunction, make_norm, pad_channels


def shrink(x: Tensor, out_channels: int) -> Tensor:
    """Half the resolution by 2×2 means, and zero channels on both sides.

    An odd side is rounded up, as by a convolution of stride 2; the means at its end are of the pixels there.
    """
    return pad_channels(F.avg_pool2d(x, 2, ceil_mode=True), out_channels)


class PooledHalves(Transition):
    """Means of 2×2 pixels and zero channels on each half; no parameters (Chang et al. 2018).

    Args:
        out_channels: Channels after, both halves.
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    def forward(self, h: Tensor, evaluate: Evaluate) -> Tensor:
        """Resample; see `Transition.forward`."""
        return torch.cat([shrink(half, self.out_channels // 2) for half in h.chunk(2, dim=1)], dim=1)


class ReversibleTransition(Transition):
    """y₁ = S x₁ + F(x₂), y₂ = S x₂ + G(y₁) with F of stride 2: the one block whose input is kept.

    Gomez et al. 2017, section 3.2; S is 2×2 means and zero channels, as in their code.

    Args:
        channels: Channels before, both halves.
        out_channels: Channels after, both halves.
        norm: Norm of F and G.
    """

    def __init__(self, channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.width = out_channels // 2
        self.f = ResidualFunction(channels // 2, self.width, stride=2, norm=norm)
        self.g = ResidualFunction(self.width, norm=norm)

    def residuals(self) -> list[nn.Module]:
        """F and G."""
        return [self.f, self.g]

    def forward(self, h: Tensor, evaluate: Evaluate) -> Tensor:
        """One block; see `Transition.forward`."""
        x1, x2 = h.chunk(2, dim=1)
        y1 = shrink(x1, self.width) + evaluate(self.f, x2)
        return torch.cat([y1, shrink(x2, self.width) + evaluate(self.g, y1)], dim=1)


class ReversibleStages(CIFARStages):
    """Base of stages of reversible nets: their stem is convolution, norm and ReLU (Gomez et al. 2017)."""

    def entrance(self, in_channels: int, channels: int) -> tuple[nn.Module, Transition | None]:
        """See `CIFARStages.entrance`."""
        stem, entry = super().entrance(in_channels, channels)
        return nn.Sequential(stem, make_norm(self.norm, channels), nn.ReLU()), entry


class RevNetStages(ReversibleStages):
    """Three stages whose transitions couple the two halves of the channels, as in RevNet-38.

    Args:
        widths: Channels of the stages, both halves; the first equal to model.channels.
        norm: `batch` as published, or `group`.
    """

    def transition(self, channels: int, out_channels: int) -> Transition:
        """A reversible block of stride 2."""
        return ReversibleTransition(channels, out_channels, self.norm)


class HamiltonianStages(ReversibleStages):
    """Three stages with transitions without parameters, as in the authors' Hamiltonian nets.

    Their first unit of a stage works at the width and resolution of the stage before and resamples at its
    end, so that `blocks: 6` makes 7, 6 and 5 steps.

    Args:
        widths: Channels of the stages, both halves; the first equal to model.channels.
        norm: Norm of stem and head, `batch` or `group`.
    """

    extra: Sequence[int] = (1, 0, -1)

    def transition(self, channels: int, out_channels: int) -> Transition:
        """Resampling only."""
        return PooledHalves(out_channels)
