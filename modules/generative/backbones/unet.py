"""A small U-Net, the network of Ho et al. 2020 for images of 8×8 to 32×32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError

from .base import Backbone, TimeNet, check_patches, check_sizes
from .embedding import Embedding, attend


class UNet(Backbone):
    """Residual blocks at falling and rising resolution with skips between, attention at the lowest one.

    Time and class shift and scale the second norm of every block (Dhariwal & Nichol 2021). The defaults make
    1.66 million parameters; `channels: 16` makes 0.42 million.

    Args:
        channels: Channels at full resolution.
        multipliers: Channels of each level as a multiple of that; each level halves the resolution.
        blocks: Residual blocks in each level.
        attention: Whether the pixels of the lowest level attend to each other.
        heads: Heads of the attention.
        groups: Groups of the norms; a divisor of the channels.
        dropout: Share of the features that training drops in every block.
        patch: Side of the squares of pixels that become the channels of one (Luhman & Luhman 2022): 2 leaves
            a quarter of the pixels to convolve.
        channels_last: Whether weights and features lie in memory with the channels last, which convolutions
            on tensor cores want; values differ by round-off.
    """

    def __init__(
        self,
        channels: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: bool = True,
        heads: int = 2,
        groups: int = 8,
        dropout: float = 0.0,
        patch: int = 1,
        channels_last: bool = False,
    ) -> None:
        check_sizes(channels=channels, blocks=blocks, heads=heads, groups=groups, patch=patch)
        if not multipliers or min(multipliers) < 1:
            raise UsageError(f"multipliers {list(multipliers)} make no network", "such as [1, 2, 2]")
        if channels % groups or (channels * multipliers[-1]) % heads:
            raise UsageError(
                f"{channels} channels are not a multiple of {groups} groups and {heads} heads",
                "set model.backbone.groups and heads to divisors",
            )
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout must lie in [0, 1), got {dropout}", "set model.backbone.dropout")
        self.channels, self.multipliers, self.blocks = channels, tuple(multipliers), blocks
        self.attention, self.heads, self.groups, self.dropout = attention, heads, groups, dropout
        self.patch, self.channels_last = patch, channels_last

    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """See `Backbone.build`."""
        if len(shape) != 3:
            raise UsageError(f"a U-Net takes images, not samples of shape {shape}", "choose MLP for points")
        check_patches(self.patch, *shape[1:])
        halved = 2 ** (len(self.multipliers) - 1)
        height, width = shape[1] // self.patch, shape[2] // self.patch
        if height % halved or width % halved:
            raise UsageError(
                f"{height}×{width} pixels cannot be halved {len(self.multipliers) - 1} times",
                "set model.backbone.multipliers to fewer levels",
            )
        return UNetNet(shape[0], self, num_classes)


class UNetNet(TimeNet):
    """The network of `UNet`.

    Args:
        channels: Channels of an image.
        settings: The rest.
        num_classes: Number of classes to condition on.
    """

    def __init__(self, channels: int, settings: UNet, num_classes: int) -> None:
        super().__init__()
        s = settings
        self.patch = s.patch
        self.layout = torch.channels_last if s.channels_last else torch.contiguous_format
        channels *= s.patch**2
        widths = [s.channels * m for m in s.multipliers]
        emb = 4 * s.channels
        self.embedding = Embedding(emb, num_classes)
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)

        def block(a: int, b: int) -> ResidualBlock:
            return ResidualBlock(a, b, emb, s.groups, s.dropout)

        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        skips, width = [widths[0]], widths[0]
        for level, to in enumerate(widths):
            if level:
                self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
            made = [block(a, b) for a, b in pairwise([width] + [to] * s.blocks)]
            self.down.append(nn.ModuleList(made))
            skips += [to] * s.blocks
            width = to
        self.middle = nn.ModuleList([block(width, width), block(width, width)])
        self.attention = Attention(width, s.heads, s.groups) if s.attention else None
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, to in reversed(list(enumerate(widths))):
            made = []
            for _ in range(s.blocks + 1):
                made.append(block(width + skips.pop(), to))
                width = to
            self.up.append(nn.ModuleList(made))
            if level:
                self.grow.append(nn.Conv2d(width, width, 3, padding=1))
        self.norm = nn.GroupNorm(s.groups, width)
        self.last = zeroed(nn.Conv2d(width, channels, 3, padding=1))
        self.to(memory_format=self.layout)  # type: ignore[call-overload]  # torch leaves this overload out

    def blocks_once(self) -> list[nn.Module]:
        """The residual blocks and the attention."""
        return [part for part in self.modules() if isinstance(part, ResidualBlock | Attention)]

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Evaluate on images of shape (batch, channels, height, width), t from 0 to 1."""
        emb = F.silu(self.embedding(t, x, y))
        x = self.first(F.pixel_unshuffle(x, self.patch).contiguous(memory_format=self.layout))
        skips = [x]
        for level, blocks in enumerate(self.down):
            if level:
                x = self.shrink[level - 1](x)
                skips.append(x)
            for block in blocks.children():
                x = block(x, emb)
                skips.append(x)
        x = self.middle[0](x, emb)
        if self.attention is not None:
            x = self.attention(x)
        x = self.middle[1](x, emb)
        for level, blocks in enumerate(self.up):
            for block in blocks.children():
                x = block(torch.cat((x, skips.pop()), dim=1), emb)
            if level < len(self.grow):
                x = self.grow[level](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return F.pixel_shuffle(self.last(F.silu(self.norm(x))), self.patch).contiguous()


class ResidualBlock(nn.Module):
    """Norm–SiLU–conv twice around a skip; the embedding scales and shifts the second norm.

    Args:
        width: Channels in.
        to: Channels out.
        embedding: Length of the embedding.
        groups: Groups of the norms.
        dropout: Share of features dropped in training.
    """

    def __init__(self, width: int, to: int, embedding: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width)
        self.conv1 = nn.Conv2d(width, to, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * to)
        self.norm2 = nn.GroupNorm(groups, to)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(to, to, 3, padding=1))
        self.skip = nn.Identity() if width == to else nn.Conv2d(width, to, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Shape (batch, to, height, width)."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(self.dropout(F.silu(h * (1 + scale) + shift)))
        result: Tensor = self.skip(x) + h
        return result


class Attention(nn.Module):
    """Every pixel attends to all.

    Args:
        width: Channels.
        heads: Heads.
        groups: Groups of the norm.
    """

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.out = zeroed(nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shape of x."""
        parts = self.qkv(self.norm(x).flatten(2)).unflatten(1, (3, self.heads, -1)).transpose(-2, -1)
        q, k, v = parts.unbind(1)
        mixed = attend(q, k, v).transpose(-2, -1).flatten(1, 2)
        result: Tensor = x + self.out(mixed).view_as(x)
        return result


def zeroed(layer: nn.Conv2d | nn.Conv1d | nn.Linear) -> nn.Module:
    """The layer with weights at zero, so that the block that it ends begins as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
