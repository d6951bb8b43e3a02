"""What a deep equilibrium net holds still: a monotone block, or a residual one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError

from ..classification.fields import PreActivationField
from ..classification.layout import FieldMaker
from .fixed_point import Map
from .layers import initial_kernel

Evaluate = Callable[[nn.Module, Tensor], Tensor]
"""Calls a residual function, one evaluation each: `evaluate(f, z)`."""


def norm_bound(kernel: Tensor) -> Tensor:
    """Upper bound of the spectral norm of a zero-padded convolution, a 0-d tensor.

    The convolution is the kernel as a matrix, (out, in · side²), applied to patches whose squared norms add
    up to at most side² ‖y‖².

    Args:
        kernel: Shape (out, in, side, side).
    """
    matrix = kernel.flatten(1).to(torch.promote_types(kernel.dtype, torch.float32))
    largest = torch.linalg.eigvalsh(matrix @ matrix.mT)[-1]
    # the eigenvalue of a zero kernel may come out below zero
    bound: Tensor = kernel.shape[-1] * largest.clamp(min=torch.finfo(matrix.dtype).tiny).sqrt()
    return bound.to(kernel.dtype)


def limited(kernel: Tensor, largest: float) -> Tensor:
    """The kernel, scaled down so that the norm of its convolution is at most `largest`."""
    return kernel * (largest / norm_bound(kernel)).clamp(max=1)


class MonotoneField(nn.Module):
    """(W − I) z with W = (1 − m) I − AᵀA + B − Bᵀ, ‖A‖ ≤ 1 and ‖B − Bᵀ‖ ≤ m/2; `inject` is U x + b.

    A, B and U are 3×3 convolutions; the transposes are those of the zero-padded convolutions.

    Args:
        channels: Channels of the state.
        margin: m.
    """

    def __init__(self, channels: int, margin: float) -> None:
        super().__init__()
        self.a, self.b = initial_kernel(channels), initial_kernel(channels)
        self.inject = nn.Conv2d(channels, channels, 3, padding=1)
        self.margin = margin
        self._held: tuple[Tensor, Tensor] | None = None

    def kernels(self) -> tuple[Tensor, Tensor]:
        """The kernels of A and of B − Bᵀ, within their bounds."""
        # the transpose of a convolution is the one with its kernel mirrored in space and its channels swapped
        antisymmetric = self.b - self.b.transpose(0, 1).flip(2, 3)
        return limited(self.a, 1.0), limited(antisymmetric, self.margin / 2)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Compute the kernels once for all evaluations inside."""
        self._held = self.kernels()
        try:
            yield
        finally:
            self._held = None

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Evaluate at the state z of shape (batch, channels, height, width); t is not used."""
        a, antisymmetric = self._held or self.kernels()
        symmetric = F.conv_transpose2d(F.conv2d(z, a, padding=1), a, padding=1)
        value: Tensor = F.conv2d(z, antisymmetric, padding=1) - symmetric
        return torch.sub(value, z, alpha=self.margin)


class MonotoneBlock(nn.Module):
    """z* = ReLU(W z* + U x + b), W = (1 − m) I − AᵀA + B − Bᵀ (Winston & Kolter 2020, eq. 5 and prop. 1).

    It has exactly one solution for every x and all weights: as ⟨v, (I − W) v⟩ = m‖v‖² + ‖Av‖² ≥ m‖v‖², and as
    ReLU is the proximal map of a convex function φ, it is the root of the strongly monotone, maximal operator
    z ↦ (I − W) z − U x − b + ∂φ(z).

    Searches iterate the forward–backward map z ↦ ReLU(z − α((I − W) z − U x − b)), which has the same fixed
    point and, with α = 2/(1 + 2m) and the bounds of `MonotoneField`, is a contraction by (1 + m)/(1 + 2m)
    whatever the weights: the symmetric part of I − α(I − W) has norm at most 1/(1 + 2m), the rest αm/2. The
    authors bound neither kernel, and tune α while they train.

    Args:
        channels: Channels of the hidden state.
        margin: m, above 0 and at most 1.

    Raises:
        UsageError: m is out of its range.
    """

    length = 1.0
    """Length of the time interval that the block stands for; nothing depends on it here."""

    def __init__(self, channels: int, margin: float) -> None:
        super().__init__()
        if not (0 < margin <= 1 and math.isfinite(margin)):
            raise UsageError(
                f"margin must lie above 0 and be at most 1, got {margin}",
                "set model.margin to 1; below it memory is longer and searches take more iterations",
            )
        self.field: nn.Module = MonotoneField(channels, margin)
        self.step = 2 / (1 + 2 * margin)

    @contextmanager
    def bind(self, f: Evaluate, x: Tensor) -> Iterator[Map]:
        """The map whose fixed point is looked for, where `f(field, z)` makes the evaluations."""
        field = self.field
        assert isinstance(field, MonotoneField)
        injected = field.inject(x)
        with field.held():
            yield lambda z: torch.relu(z + self.step * (f(field, z) + injected))


class ResidualBlock(nn.Module):
    """z* = x + h f(z*) with the shared residual function: one backward-Euler step of ż = f(z).

    Nothing makes a fixed point exist; where training lets ‖h ∂f/∂z‖ grow, searches begin to fail.

    Args:
        channels: Channels of the hidden state.
        h: Step size.
        field: Makes the residual function.

    Raises:
        UsageError: h is not positive.
    """

    def __init__(self, channels: int, h: float, field: FieldMaker = PreActivationField) -> None:
        super().__init__()
        if not h > 0:
            raise UsageError(f"h must be positive, got {h}", "set model.h, the step size")
        self.field: nn.Module = field(channels)
        self.length = h

    @contextmanager
    def bind(self, f: Evaluate, x: Tensor) -> Iterator[Map]:
        """The map whose fixed point is looked for, where `f(field, z)` makes the evaluations."""
        yield lambda z: torch.add(x, f(self.field, z), alpha=self.length)
