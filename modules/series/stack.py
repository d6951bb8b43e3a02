"""Layers that map a sequence to a sequence, stacked with what mixes channels between them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from integrand.errors import UsageError


class Mixed(nn.Module):
    """x + GLU(W GELU(layer(norm(x)))): a linear layer in time, and what makes it more than linear.

    Args:
        layer: Called as `layer(x, gaps)` with x of shape (batch, n, channels); returns the shape of x.
        channels: Channels of the sequence.
        dropout: Probability of dropping an entry in training.
    """

    def __init__(self, layer: nn.Module, channels: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(channels), layer
        self.mix = nn.Sequential(
            nn.GELU(), nn.Dropout(dropout), nn.Linear(channels, 2 * channels), nn.GLU(dim=-1)
        )

    def forward(self, x: Tensor, gaps: Tensor) -> Tensor:
        """From (batch, n, channels) to the same; gaps of shape (batch, n)."""
        y: Tensor = x + self.mix(self.layer(self.norm(x), gaps))
        return y


class Stack(nn.Module):
    """A linear map of each observation, and `depth` mixed layers.

    Args:
        inputs: Numbers in one observation.
        channels: Channels of the sequence in between.
        depth: Number of layers.
        make: Makes a layer; see `Mixed`.
        dropout: See `Mixed`.

    Raises:
        UsageError: There is no layer, or the probability is out of [0, 1).
    """

    def __init__(
        self, inputs: int, channels: int, depth: int, make: Callable[[], nn.Module], dropout: float = 0.0
    ) -> None:
        super().__init__()
        if depth < 1 or not 0 <= dropout < 1:
            raise UsageError(
                f"depth={depth}, dropout={dropout}", "set model.depth to 1 or more, model.dropout below 1"
            )
        self.lift = nn.Linear(inputs, channels)
        self.layers = nn.ModuleList(Mixed(make(), channels, dropout) for _ in range(depth))

    def forward(self, x: Tensor, gaps: Tensor) -> Tensor:
        """From (batch, n, inputs) to (batch, n, channels); gaps of shape (batch, n)."""
        x = self.lift(x)
        for layer in self.layers:
            x = layer(x, gaps)
        return x


def mean_over(x: Tensor, present: Tensor) -> Tensor:
    """Mean over the observations that there are.

    Args:
        x: Shape (batch, n, channels).
        present: Shape (batch, n), bool.
    """
    weights = present.unsqueeze(-1).to(x.dtype)
    return torch.where(weights > 0, x, 0.0).sum(dim=1) / weights.sum(dim=1)
