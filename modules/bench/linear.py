"""Linear maps on hidden states: 3×3 convolutions on feature maps, matrices on vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear_map(channels: int, out_channels: int, axes: int, size: int = 3) -> nn.Module:
    """A learned affine map of hidden states.

    Args:
        channels: Channels of the state.
        out_channels: Channels of the result.
        axes: Axes of a state behind its channels: 2 for feature maps, 0 for vectors.
        size: Side of the kernel where there are axes; the map keeps their lengths.
    """
    if axes == 0:
        return nn.Linear(channels, out_channels)
    return nn.Conv2d(channels, out_channels, size, padding=size // 2)


def initial_kernel(channels: int, axes: int = 2) -> nn.Parameter:
    """A kernel K from channels to channels, with the start of `nn.Conv2d` or `nn.Linear`.

    Args:
        channels: Channels of the state.
        axes: Axes of a state behind its channels; of length 3 in the kernel.
    """
    kernel = torch.empty(channels, channels, *[3] * axes)
    nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))
    return nn.Parameter(kernel)


def apply(kernel: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """K y + b.

    Args:
        kernel: K, shape (out, in) or (out, in, 3, 3).
        y: State, shape (batch, in, …).
        bias: b, shape (out,).
    """
    return F.linear(y, kernel, bias) if kernel.ndim == 2 else F.conv2d(y, kernel, bias, padding=1)


def apply_transposed(kernel: Tensor, z: Tensor) -> Tensor:
    """Kᵀ z, of the zero-padded convolution where K is a kernel in space."""
    return F.linear(z, kernel.mT) if kernel.ndim == 2 else F.conv_transpose2d(z, kernel, padding=1)


def antisymmetric_part(kernel: Tensor) -> Tensor:
    """The kernel of K − Kᵀ."""
    # the transpose of a convolution is the one with its kernel mirrored in space and its channels swapped
    return kernel - kernel.transpose(0, 1).flip(tuple(range(2, kernel.ndim)))


def norm_bound(kernel: Tensor) -> Tensor:
    """Upper bound of the spectral norm of K, a 0-d tensor; for a matrix the norm itself.

    A convolution is the kernel as a matrix, (out, in · side²), applied to patches whose squared norms add
    up to at most side² ‖y‖².

    Args:
        kernel: Shape (out, in) or (out, in, side, side).
    """
    matrix = kernel.flatten(1).to(torch.promote_types(kernel.dtype, torch.float32))
    largest = torch.linalg.eigvalsh(matrix @ matrix.mT)[-1]
    side = kernel.shape[-1] if kernel.ndim > 2 else 1
    # the eigenvalue of a zero kernel may come out below zero
    bound: Tensor = side * largest.clamp(min=torch.finfo(matrix.dtype).tiny).sqrt()
    return bound.to(kernel.dtype)
