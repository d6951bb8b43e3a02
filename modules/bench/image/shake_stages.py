"""Stages of the shake-shake nets (Gastaldi 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from integrand.errors import UsageError

from ..stages import Evaluate, Transition
from .cifar import CIFARStages


class ShakenFunction(nn.Module):
    """f(x) = norm(conv(ReLU(norm(conv(ReLU(x)))))) with 3×3 convolutions without bias.

    Args:
        channels: Channels of x.
        out_channels: Channels of f(x); the same as `channels` where omitted.
        stride: Stride of the first convolution.
    """

    def __init__(self, channels: int, out_channels: int | None = None, stride: int = 1) -> None:
        super().__init__()
        out_channels = out_channels or channels
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Evaluate at the state x of shape (batch, channels, height, width); t is not used."""
        x = self.norm1(self.conv1(torch.relu(x)))
        result: Tensor = self.norm2(self.conv2(torch.relu(x)))
        return result


class ShakenShortcut(nn.Module):
    """The shortcut where the width changes: ReLU, 1×1 convolutions, and norm (Gastaldi 2017, his code).

    One half of the channels sees the map, the other the map moved by a pixel to the right and down: at
    stride 2 the one sees the even pixels and the other a border of zeros and the odd ones.

    Args:
        channels: Channels before.
        out_channels: Channels after.
        stride: 1 or 2.
    """

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        halves = (out_channels // 2, out_channels - out_channels // 2)
        self.convs = nn.ModuleList(nn.Conv2d(channels, half, 1, bias=False) for half in halves)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, channels, height, width) to the resolution and width of the next stage."""
        x, s = torch.relu(x), self.stride
        moved = nn.functional.pad(x, (1, -1, 1, -1))
        parts = [conv(m[:, :, ::s, ::s]) for conv, m in zip(self.convs, (x, moved), strict=True)]
        result: Tensor = self.norm(torch.cat(parts, dim=1))
        return result


class ShakenTransition(Transition):
    """S x + f(x), a block in which the width changes.

    Args:
        channels: Channels before.
        out_channels: Channels after.
        stride: 1 or 2.
    """

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut = ShakenShortcut(channels, out_channels, stride)
        self.branch = ShakenFunction(channels, out_channels, stride)

    def residuals(self) -> list[nn.Module]:
        """The branch."""
        return [self.branch]

    def forward(self, h: Tensor, evaluate: Evaluate) -> Tensor:
        """One block; see `Transition.forward`."""
        value: Tensor = self.shortcut(h) + evaluate(self.branch, h)
        return value


class ShakeStages(CIFARStages):
    """Three stages of doubling width, of which `noise: ShakeShake` gives every block its second branch.

    With that noise, a ResNet of `blocks: 4` and 32 channels is the net 26 2×32d. The stem has 16 channels,
    and the first block of each stage, which changes the width, is a transition.
    """

    extra: Sequence[int] = (-1, -1, -1)
    stem_channels = 16

    def __init__(self) -> None:
        super().__init__()

    def field(
        self, channels: int, out_channels: int | None = None, time_dependent: bool = False
    ) -> nn.Module:
        """One branch."""
        if time_dependent:
            raise UsageError("a shake-shake net has no time", "use it with ResNet")
        return ShakenFunction(channels, out_channels)

    def transition(self, channels: int, out_channels: int) -> Transition:
        """A block of stride 2."""
        return ShakenTransition(channels, out_channels, 2)

    def entrance(self, in_channels: int, channels: int) -> tuple[nn.Module, Transition | None]:
        """Convolution and norm to 16 channels, and the first block."""
        stem = nn.Sequential(
            nn.Conv2d(in_channels, self.stem_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.stem_channels),
        )
        return stem, ShakenTransition(self.stem_channels, channels, 1)

    def exit(self, channels: int, outputs: int) -> nn.Module:
        """ReLU, mean and linear: the blocks end with a norm."""
        return nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))
