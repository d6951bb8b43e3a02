"""Guards around torchdiffeq's adjoint: what it gets silently wrong becomes an error or a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .accounts import CountedField
from .errors import SolverError

DRIFT_LIMIT = 0.05
"""Relative miss of the initial state from which the adjoint's gradients are called unreliable."""


def guard_backward(
    y0: Tensor, counted: CountedField, times: Sequence[float]
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Marks that run before and after the adjoint's backward solve.

    Args:
        y0: Initial state.
        counted: The counted field; remembers the last state of the backward solve.
        times: Output times.

    Returns:
        The marked initial state to solve from, and a function that marks the trajectory.
    """
    anchor = torch.zeros((), requires_grad=True)  # lets the mark run when y0 itself takes no gradient
    start = y0.detach()
    end: list[Tensor] = []

    def release(ys: Tensor) -> Tensor:
        end.append(ys[-1].detach())
        marked: Tensor = _Before.apply(ys)  # type: ignore[no-untyped-call]  # torch
        return marked

    def check() -> None:
        last, counted.last = counted.last, None
        if last is not None:
            _warn_of_drift(last[0], last[1], start, end[0], times)

    return _After.apply(y0, anchor, check), release  # type: ignore[no-untyped-call]  # torch


def _warn_of_drift(t: Tensor, y: Tensor, y0: Tensor, y1: Tensor, times: Sequence[float]) -> None:
    """Warn where the backward solve did not come back to where the forward solve had started.

    The adjoint re-solves the state backwards; on a contracting field that is an expanding problem, and the
    gradient belongs to the wrong trajectory (Gholami et al. 2019, ANODE, section 3).
    """
    if abs(t.item() - times[0]) > 1e-6 * abs(times[-1] - times[0]):
        return
    size = torch.maximum(torch.linalg.vector_norm(y0), torch.linalg.vector_norm(y1)).clamp_min(1e-30)
    miss = float(torch.linalg.vector_norm(y - y0) / size)
    if not miss <= DRIFT_LIMIT:
        warnings.warn(
            f"adjoint: the backward solve missed the initial state by {100 * miss:.3g} %, so its gradients "
            "are unreliable; set gradient: backprop or checkpoint, or tighter rtol and atol",
            stacklevel=2,
        )


class _Before(torch.autograd.Function):
    """Identity on the trajectory that refuses second derivatives, which the adjoint would return as zero."""

    @staticmethod
    def forward(ctx: Any, ys: Tensor) -> Tensor:
        return ys.view_as(ys)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise SolverError(
                "the adjoint has no second derivative, but create_graph=True asks for one",
                "set gradient: backprop",
            )
        return grad


class _After(torch.autograd.Function):
    """Identity on the initial state whose backward runs when the adjoint solve is over."""

    @staticmethod
    def forward(ctx: Any, y0: Tensor, anchor: Tensor, check: Callable[[], None]) -> Tensor:
        ctx.check = check
        return y0.view_as(y0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        ctx.check()
        return grad, None, None
