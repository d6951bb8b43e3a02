"""Single layers whose Jacobian is symmetric or antisymmetric, from one kernel and its transpose."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..bench import linear
from ..bench.linear import antisymmetric_part, initial_kernel
from ..bench.norm import group_norm
from .stepping import require_variant

Activation = Literal["relu", "tanh"]


def make_activation(name: Activation) -> nn.Module:
    """The activation σ by its name.

    Raises:
        UsageError: There is none of that name.
    """
    require_variant("activation", name, Activation)
    return nn.ReLU() if name == "relu" else nn.Tanh()


class SymmetricLayer(nn.Module):
    """f(y) = Kᵀ σ(N(K y) + b) with one linear map K: a convolution of feature maps, a matrix of vectors.

    Without N the Jacobian Kᵀ diag(σ′) K is symmetric, and positive semidefinite as σ does not fall: f is the
    gradient of a convex function (Ruthotto & Haber 2020, Deep Neural Networks Motivated by
    Partial Differential Equations).

    Args:
        channels: Channels of the state and of K y.
        activation: σ, `relu` or `tanh`.
        norm: Whether N is group normalisation; the identity otherwise.
        axes: Axes of a state behind its channels.
    """

    def __init__(
        self, channels: int, activation: Activation = "relu", norm: bool = False, axes: int = 2
    ) -> None:
        super().__init__()
        self.kernel = initial_kernel(channels, axes)
        self.norm = group_norm(channels) if norm else nn.Identity()
        # the bias of the norm is b where there is a norm
        self.bias = None if norm else nn.Parameter(torch.zeros(channels, *[1] * axes))
        self.activation = make_activation(activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the state y of shape (batch, channels, …); t is not used."""
        z: Tensor = self.norm(linear.apply(self.kernel, y))
        if self.bias is not None:
            z = z + self.bias
        return linear.apply_transposed(self.kernel, self.activation(z))


class AntisymmetricLayer(nn.Module):
    """f(y) = σ((K − Kᵀ − γ I) y + b) with one linear map K: a convolution, or a matrix of vectors.

    The eigenvalues of K − Kᵀ are imaginary, so that for γ = 0 the linear part neither grows nor decays
    (Haber & Ruthotto 2017, Stable Architectures for Deep Neural Networks).

    Args:
        channels: Channels of the state.
        activation: σ, `relu` or `tanh`.
        gamma: Damping γ.
        axes: Axes of a state behind its channels.
    """

    def __init__(
        self, channels: int, activation: Activation = "relu", gamma: float = 0.0, axes: int = 2
    ) -> None:
        super().__init__()
        self.kernel = initial_kernel(channels, axes)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.gamma = gamma
        self.activation = make_activation(activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the state y of shape (batch, channels, …); t is not used."""
        z = linear.apply(antisymmetric_part(self.kernel), y, self.bias)
        if self.gamma:
            z = torch.sub(z, y, alpha=self.gamma)
        value: Tensor = self.activation(z)
        return value
