"""Gradients with respect to times: where a trajectory is asked for, and where it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .accounts import Counted


class TimeGradient:
    """∂L/∂t_i = ⟨∂L/∂y_i, f(t_i, y_i)⟩ at outputs, and −⟨a(t₀), f(t₀, y₀)⟩ at the start, a being the adjoint.

    Exact for the equation, and so for a solve to within its tolerance. Costs one evaluation for each time, in
    the backward pass.

    Args:
        times: The times, shape (n,), or (batch, n) for times of each sample's own.
    """

    def __init__(self, times: Tensor) -> None:
        self.times = times
        self._counted: Counted | None = None
        self._clock, self._columns = times.dtype, False

    def start(self, counted: Counted, clock: torch.dtype, columns: bool) -> None:
        """Set how the field is evaluated.

        Args:
            counted: The field.
            clock: Dtype of its times.
            columns: Whether it takes t of shape (batch, 1, ...).
        """
        self._counted, self._clock, self._columns = counted, clock, columns

    def depart(self, y0: Tensor) -> Tensor:
        """The initial state, through which the gradient reaches the initial time."""
        y: Tensor = _Depart.apply(self.times, y0, self)  # type: ignore[no-untyped-call]  # torch
        return y

    def arrive(self, ys: Tensor) -> Tensor:
        """The outputs, shape (n, batch, ...), through which the gradient reaches their times."""
        out: Tensor = _Arrive.apply(self.times, ys, self)  # type: ignore[no-untyped-call]  # torch
        return out

    def by_time(self, i: int, y: Tensor, grad: Tensor) -> Tensor:
        """⟨grad, f(t_i, y)⟩, shape () or (batch,)."""
        counted = self._counted
        assert counted is not None
        t = self.times.detach()[..., i].to(self._clock)
        if self._columns:
            t = t.expand(len(y)).view(-1, *[1] * (y.ndim - 1))
        vjps = counted.stats.vjps
        with counted.recomputing():
            slope = counted(t, y)
        # recomputations are charged with a product; these have none
        counted.stats.vjps = vjps
        product = (grad * slope).flatten(1).sum(1)
        return product if self.times.ndim == 2 else product.sum()


def gradient_to(t: Tensor | Sequence[Any]) -> TimeGradient | None:
    """What carries the gradient to the times, None where none of them requires one."""
    if not torch.is_grad_enabled():
        return None
    if isinstance(t, Tensor):
        return TimeGradient(t) if t.requires_grad else None
    known = next((v for v in t if isinstance(v, Tensor) and v.requires_grad), None)
    if known is None:
        return None
    return TimeGradient(torch.stack([torch.as_tensor(v).to(known).reshape(()) for v in t]))


class _Depart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, times: Tensor, y0: Tensor, gradient: TimeGradient) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(y0)
        return y0.view_as(y0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (y0,) = ctx.saved_tensors
        times = ctx.gradient.times
        by_time = torch.zeros_like(times)
        by_time[..., 0] = -ctx.gradient.by_time(0, y0, grad).to(times)
        return by_time, grad, None


class _Arrive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, times: Tensor, ys: Tensor, gradient: TimeGradient) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(ys)
        return ys.view_as(ys)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (ys,) = ctx.saved_tensors
        times = ctx.gradient.times
        parts = [ctx.gradient.by_time(i, ys[i], grad[i]) for i in range(len(ys))]
        return torch.stack(parts, -1).to(times), grad, None
