"""The norms inside residual functions and vector fields."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from integrand.errors import UsageError

FieldNorm = Literal["group", "instance", "rms", "none"]


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with one group.

    Not batch statistics: an adaptive solver would update them once per evaluation, rejected steps and
    backward solves included. Not several groups: augmented channels start at exactly zero, and on a group of
    zeros the derivative of the norm is 1/√ε ≈ 316, which makes the field stiff at t = 0.
    """
    return nn.GroupNorm(1, channels)


class RMSNorm2d(nn.Module):
    """γ x / √(mean x² + ε), the mean over channels and pixels of each sample (Zhang & Sennrich 2019).

    Args:
        channels: Channels of x, each with a γ of its own.
        eps: ε.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """From and to (batch, channels, height, width)."""
        return self.gain * x * (x.square().mean((1, 2, 3), keepdim=True) + self.eps).rsqrt()


def field_norm(kind: FieldNorm, channels: int) -> nn.Module:
    """A norm for a field on feature maps: one that looks at a single sample alone.

    Args:
        kind: `group` as `group_norm`; `instance`, each channel by itself; `rms`, without subtracting a mean;
            `none`.
        channels: Channels of the state.

    Raises:
        UsageError: The kind is unknown.
    """
    if kind not in get_args(FieldNorm):
        raise UsageError(
            f"unknown norm {kind!r}", f"set model.layout.norm to one of {', '.join(get_args(FieldNorm))}"
        )
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "rms":
        return RMSNorm2d(channels)
    return nn.Identity() if kind == "none" else group_norm(channels)
