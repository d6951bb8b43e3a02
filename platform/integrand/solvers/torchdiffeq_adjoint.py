"""Guards around torchdiffeq's adjoint: what it gets silently wrong becomes an error or a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .accounts import CountedField
from .errors import SolverError
from .hidden_inputs import KnownInputs
from .transforms import refuse_transforms

DRIFT_LIMIT = 0.05
"""Relative miss of the initial state from which the adjoint's gradients are called unreliable."""


@dataclass
class AdjointSolve:
    """One solve by torchdiffeq's adjoint.

    Args:
        solve: Solves from y0 and returns the trajectory with its graph.
        inputs: Tensors other than y0 that require gradients.
        counted: The counted field; remembers the last state of the backward solve.
        times: Output times.
        failures: Context in which torchdiffeq's assertions become typed errors.
    """

    solve: Callable[[Tensor], Tensor]
    inputs: Sequence[Tensor]
    counted: CountedField
    times: Sequence[float]
    failures: Callable[[], AbstractContextManager[None]]

    def run(self, y0: Tensor) -> Tensor:
        """The trajectory, shape (n_t, *y0.shape); checks run before and after its backward solve.

        Raises:
            SolverOptionError: torch.func is at work, or the field draws random numbers.
        """
        refuse_transforms("adjoint")
        ys: Tensor = _Adjoint.apply(self, y0, *self.inputs)  # type: ignore[no-untyped-call]  # torch
        return ys

    def pull_back(self, ys: Tensor, y0: Tensor, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by y0 and the inputs; the graph is kept for another backward pass."""
        counted = self.counted
        known = counted.known = KnownInputs(self.inputs, counted.stats.solver)
        with self.failures(), known.border():
            parts = torch.autograd.grad(ys, (y0, *self.inputs), grad, allow_unused=True, retain_graph=True)
        # without the last value, which holds a graph
        last = None if counted.last is None else counted.last[:2]
        counted.last = counted.known = None
        known.refuse_others()
        if last is not None:
            _warn_of_drift(*last, y0.detach(), ys[-1].detach(), self.times)
        return parts


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


class _Adjoint(torch.autograd.Function):
    """The whole adjoint as one node, so that what fails in its backward solve can be told apart."""

    @staticmethod
    def forward(ctx: Any, adjoint: AdjointSolve, y0: Tensor, *inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.y0 = y0.detach().requires_grad_()
            ctx.ys = adjoint.solve(ctx.y0)
        ctx.adjoint = adjoint
        ys: Tensor = ctx.ys.detach()
        return ys

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise SolverError(
                "the adjoint has no second derivative, but create_graph=True asks for one",
                "set gradient: backprop",
            )
        return (None, *ctx.adjoint.pull_back(ctx.ys, ctx.y0, grad))
