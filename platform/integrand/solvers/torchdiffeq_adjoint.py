"""Guards around torchdiffeq's adjoint: what it gets silently wrong becomes an error or a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .accounts import CountedField
from .errors import SolverError

DRIFT_LIMIT = 0.05
"""Relative miss of the initial state from which the adjoint's gradients are called unreliable."""


def guard_backward(y0: Tensor, counted: CountedField, times: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Checks that run before and after the adjoint's backward solve.

    Args:
        y0: Initial state.
        counted: The counted field; remembers the last state of the backward solve.
        times: Output times.

    Returns:
        A function that marks the trajectory.
    """
    start = y0.detach()

    def mark(ys: Tensor) -> Tensor:
        end = ys[-1].detach()

        def check() -> None:
            last, counted.last = counted.last, None
            if last is not None:
                _warn_of_drift(last[0], last[1], start, end, times)

        marked: Tensor = _Guard.apply(ys, check)  # type: ignore[no-untyped-call]  # torch
        return marked

    return mark


def allow_retained_graphs(field: nn.Module) -> None:
    """Keep torch.compile from reusing buffers that torchdiffeq's adjoint reads again.

    It differentiates with retain_graph=True, which a compiled field answers with a RuntimeError for some
    batch sizes; the setting is torch's own and stays for the process.

    Args:
        field: The field; nothing happens unless a part of it is compiled.
    """
    if any(
        getattr(m, "_compiled_call_impl", None) is not None or hasattr(m, "_orig_mod")
        for m in field.modules()
    ):
        from torch._functorch import config

        config.donated_buffer = False


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


class _Guard(torch.autograd.Function):
    """Identity on the trajectory that refuses second derivatives, which the adjoint would return as zero."""

    @staticmethod
    def forward(ctx: Any, ys: Tensor, check: Callable[[], None]) -> Tensor:
        ctx.check = check
        return ys.view_as(ys)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise SolverError(
                "the adjoint has no second derivative, but create_graph=True asks for one",
                "set gradient: backprop",
            )
        # at the end of the whole pass, whichever inputs it was asked for
        torch.autograd.Variable._execution_engine.queue_callback(ctx.check)
        return grad, None
