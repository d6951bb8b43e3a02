"""Single layers whose Jacobian is symmetric or antisymmetric, from one kernel and its transpose."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..classification.net import group_norm
from .stepping import require_variant

Activation = Literal["relu", "tanh"]


def make_activation(name: Activation) -> nn.Module:
    """The activation σ by its name.

    Raises:
        UsageError: There is none of that name.
    """
    require_variant("activation", name, Activation)
    return nn.ReLU() if name == "relu" else nn.Tanh()


def initial_kernel(channels: int) -> nn.Parameter:
    """A 3×3 kernel from channels to channels, with the start of `nn.Conv2d`."""
    kernel = torch.empty(channels, channels, 3, 3)
    nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))
    return nn.Parameter(kernel)


class SymmetricLayer(nn.Module):
    """f(y) = Kᵀ σ(N(K y) + b) with a convolution K and the transposed convolution of the same kernel.

    Without N the Jacobian Kᵀ diag(σ′) K is symmetric, and positive semidefinite as σ does not fall: f is the
    gradient of a convex function (Ruthotto & Haber 2020, Deep Neural Networks Motivated by
    Partial Differential Equations).

    Args:
        channels: Channels of the state and of K y.
        activation: σ, `relu` or `tanh`.
        norm: Whether N is group normalisation; the identity otherwise.
    """

    def __init__(self, channels: int, activation: Activation = "relu", norm: bool = False) -> None:
        super().__init__()
        self.kernel = initial_kernel(channels)
        self.norm = group_norm(channels) if norm else nn.Identity()
        # the bias of the norm is b where there is a norm
        self.bias = None if norm else nn.Parameter(torch.zeros(channels, 1, 1))
        self.activation = make_activation(activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the state y of shape (batch, channels, height, width); t is not used."""
        z: Tensor = self.norm(F.conv2d(y, self.kernel, padding=1))
        if self.bias is not None:
            z = z + self.bias
        return F.conv_transpose2d(self.activation(z), self.kernel, padding=1)


class AntisymmetricLayer(nn.Module):
    """f(y) = σ((K − Kᵀ − γ I) y + b) with a convolution K and its transpose.

    The eigenvalues of K − Kᵀ are imaginary, so that for γ = 0 the linear part neither grows nor decays
    (Haber & Ruthotto 2017, Stable Architectures for Deep Neural Networks).

    Args:
        channels: Channels of the state.
        activation: σ, `relu` or `tanh`.
        gamma: Damping γ.
    """

    def __init__(self, channels: int, activation: Activation = "relu", gamma: float = 0.0) -> None:
        super().__init__()
        self.kernel = initial_kernel(channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.gamma = gamma
        self.activation = make_activation(activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the state y of shape (batch, channels, height, width); t is not used."""
        # the transpose of a convolution is the one with its kernel mirrored in space and its channels swapped
        antisymmetric = self.kernel - self.kernel.transpose(0, 1).flip(2, 3)
        z = F.conv2d(y, antisymmetric, self.bias, padding=1)
        if self.gamma:
            z = torch.sub(z, y, alpha=self.gamma)
        value: Tensor = self.activation(z)
        return value
