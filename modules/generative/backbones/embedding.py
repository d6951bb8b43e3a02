"""How the networks for images are told time and class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Embedding(nn.Module):
    """Sinusoids of the time through two layers, plus a learned vector of the class.

    Args:
        width: Length of the result.
        num_classes: Number of classes to condition on, 0 for none; label `num_classes` is the unconditional
            model, and what a conditional network takes where it is told no class.
        frequencies: Sinusoids of 1000 t, half sines and half cosines, as in Ho et al. 2020; even.
    """

    _angles: Tensor

    def __init__(self, width: int, num_classes: int = 0, frequencies: int = 64) -> None:
        super().__init__()
        half = frequencies // 2
        # periods from 2π to 10⁴ · 2π steps of a thousand
        self.register_buffer(
            "_angles", 1000 * torch.exp(-math.log(1e4) / half * torch.arange(half)), persistent=False
        )
        self.layers = nn.Sequential(nn.Linear(2 * half, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(num_classes + 1, width) if num_classes else None

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
        """Shape (batch, width), for t from 0 to 1, 0-d or one for each sample of x."""
        angles = t.reshape(-1, 1).to(x.dtype) * self._angles.to(x.dtype)
        found: Tensor = self.layers(torch.cat((angles.cos(), angles.sin()), dim=1))
        if self.classes is not None:
            none = torch.tensor(self.classes.num_embeddings - 1, device=x.device)
            found = found + self.classes(none if y is None else y)
        return found.expand(len(x), -1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention on shapes (batch, heads, tokens, width).

    Written out, because torch's fused kernels have no forward-mode derivative, which likelihoods of flows
    take; for the 49 to 64 tokens here it is as fast.
    """
    weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
    return weights @ v
