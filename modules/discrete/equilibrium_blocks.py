"""What a deep equilibrium net holds still: a monotone block, or a residual one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from integrand.errors import UsageError

from ..bench import FieldMaker, linear
from ..bench.linear import antisymmetric_part, initial_kernel, linear_map, norm_bound
from .fixed_point import Map

Evaluate = Callable[[nn.Module, Tensor], Tensor]
"""Calls a residual function, one evaluation each: `evaluate(f, z)`."""


def limited(kernel: Tensor, largest: float) -> Tensor:
    """The kernel, scaled down so that the norm of its map is at most `largest`."""
    return kernel * (largest / norm_bound(kernel)).clamp(max=1)


class MonotoneField(nn.Module):
    """(W − I) z with W = (1 − m) I − AᵀA + B − Bᵀ, ‖A‖ ≤ 1 and ‖B − Bᵀ‖ ≤ m/2; `inject` is U x + b.

    A, B and U are 3×3 convolutions, whose transposes are those of the zero-padded convolutions, or matrices.

    Args:
        channels: Channels of the state.
        margin: m.
        axes: Axes of a state behind its channels.
    """

    def __init__(self, channels: int, margin: float, axes: int = 2) -> None:
        super().__init__()
        self.a, self.b = initial_kernel(channels, axes), initial_kernel(channels, axes)
        self.inject = linear_map(channels, channels, axes)
        self.margin = margin
        self._held: tuple[Tensor, Tensor] | None = None

    def kernels(self) -> tuple[Tensor, Tensor]:
        """The kernels of A and of B − Bᵀ, within their bounds."""
        return limited(self.a, 1.0), limited(antisymmetric_part(self.b), self.margin / 2)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Compute the kernels once for all evaluations inside."""
        self._held = self.kernels()
        try:
            yield
        finally:
            self._held = None

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Evaluate at the state z of shape (batch, channels, …); t is not used."""
        a, antisymmetric = self._held or self.kernels()
        symmetric = linear.apply_transposed(a, linear.apply(a, z))
        value: Tensor = linear.apply(antisymmetric, z) - symmetric
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
        axes: Axes of a state behind its channels.

    Raises:
        UsageError: m is out of its range.
    """

    length = 1.0
    """Length of the time interval that the block stands for; nothing depends on it here."""

    def __init__(self, channels: int, margin: float, axes: int = 2) -> None:
        super().__init__()
        if not (0 < margin <= 1 and math.isfinite(margin)):
            raise UsageError(
                f"margin must lie above 0 and be at most 1, got {margin}",
                "set model.margin to 1; below it memory is longer and searches take more iterations",
            )
        self.field: nn.Module = MonotoneField(channels, margin, axes)
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

    def __init__(self, channels: int, h: float, field: FieldMaker) -> None:
        super().__init__()
        if not h > 0:
            raise UsageError(f"h must be positive, got {h}", "set model.h, the step size")
        self.field: nn.Module = field(channels)
        self.length = h

    @contextmanager
    def bind(self, f: Evaluate, x: Tensor) -> Iterator[Map]:
        """The map whose fixed point is looked for, where `f(field, z)` makes the evaluations."""
        yield lambda z: torch.add(x, f(self.field, z), alpha=self.length)
