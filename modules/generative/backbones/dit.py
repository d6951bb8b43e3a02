"""A small diffusion transformer (Peebles & Xie 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError

from .base import Backbone, TimeNet, check_patches, check_sizes
from .embedding import Embedding, attend
from .unet import zeroed


class DiT(Backbone):
    """Transformer on patches; time and class enter through adaptive norms that begin at zero (adaLN-Zero).

    The defaults make 1.25 million parameters.

    Args:
        width: Width of a token.
        depth: Number of blocks.
        heads: Heads of the attention.
        patch: Side of a patch; by default the smallest power of two that leaves at most 64 tokens, which is 4
            on 28×28 and 32×32 pixels and 1 on 8×8.
    """

    def __init__(self, width: int = 128, depth: int = 4, heads: int = 4, patch: int | None = None) -> None:
        check_sizes(width=width, depth=depth, heads=heads, patch=1 if patch is None else patch)
        if width % (2 * heads) or width % 4:
            raise UsageError(
                f"width {width} cannot be shared by {heads} heads", "set model.backbone.width to a multiple"
            )
        self.width, self.depth, self.heads, self.patch = width, depth, heads, patch

    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """See `Backbone.build`."""
        if len(shape) != 3:
            raise UsageError(f"a DiT takes images, not samples of shape {shape}", "choose MLP for points")
        _, height, width = shape
        patch = self.patch or _patch(height, width)
        check_patches(patch, height, width)
        return DiTNet(shape, patch, self.width, self.depth, self.heads, num_classes)


class DiTNet(TimeNet):
    """The network of `DiT`.

    Args:
        shape: Shape of an image.
        patch: Side of a patch.
        width: Width of a token.
        depth: Number of blocks.
        heads: Heads of the attention.
        num_classes: Number of classes to condition on.
    """

    _places: Tensor

    def __init__(
        self, shape: tuple[int, ...], patch: int, width: int, depth: int, heads: int, num_classes: int
    ) -> None:
        super().__init__()
        channels, rows, columns = shape[0], shape[1] // patch, shape[2] // patch
        self.patch, self.grid = patch, (rows, columns)
        self.embedding = Embedding(width, num_classes)
        self.first = nn.Linear(channels * patch * patch, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, channels * patch * patch))
        self.register_buffer("_places", _places(rows, columns, width), persistent=False)

    def blocks_once(self) -> list[nn.Module]:
        """The transformer's blocks."""
        return list(self.blocks)

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Evaluate on images of shape (batch, channels, height, width), t from 0 to 1."""
        p, (rows, columns) = self.patch, self.grid
        emb = F.silu(self.embedding(t, x, y))
        tiles = x.reshape(len(x), -1, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)
        tokens = self.first(tiles.flatten(3).flatten(1, 2)) + self._places
        for block in self.blocks:
            tokens = block(tokens, emb)
        shift, scale = self.modulation(emb).unsqueeze(1).chunk(2, dim=-1)
        out = self.last(normed(tokens) * (1 + scale) + shift)
        back = out.unflatten(1, (rows, columns)).unflatten(3, (-1, p, p))
        result: Tensor = back.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)
        return result


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a modulated norm and a gate.

    Args:
        width: Width of a token.
        heads: Heads of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Shape (batch, tokens, width)."""
        parts = self.modulation(embedding).unsqueeze(1).chunk(6, dim=-1)
        shift1, scale1, gate1, shift2, scale2, gate2 = parts
        h = self.qkv(normed(x) * (1 + scale1) + shift1)
        q, k, v = h.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + gate1 * self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        result: Tensor = x + gate2 * self.mlp(normed(x) * (1 + scale2) + shift2)
        return result


def normed(x: Tensor) -> Tensor:
    """Layer norm without weights of its own; the modulation has them."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _patch(height: int, width: int) -> int:
    patch = 1
    while height * width > 64 * patch * patch and not (height % (2 * patch) or width % (2 * patch)):
        patch *= 2
    return patch


def _places(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of row and column, shape (tokens, width)."""
    quarter = width // 4
    angles = torch.exp(-math.log(1e4) / quarter * torch.arange(quarter))
    row = torch.arange(rows).repeat_interleave(columns)[:, None] * angles
    column = torch.arange(columns).repeat(rows)[:, None] * angles
    return torch.cat((row.sin(), row.cos(), column.sin(), column.cos()), dim=1)
