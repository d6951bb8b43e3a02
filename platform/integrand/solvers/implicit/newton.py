"""Implicit stages: simplified Newton without a graph, and a last step that carries the exact gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..accounts import CountedField
from ..errors import SolverOptionError

LARGEST_STATE = 1024
ITERATIONS = 10


def jacobian(field: CountedField, t: Tensor, y: Tensor) -> Tensor:
    """∂f/∂y of every sample, shape (batch, d, d), where samples do not act on each other.

    One evaluation and d vector-Jacobian products in one batch.
    """
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        f = field(t, y)
        flat = f.flatten(1)
        batch, d = flat.shape
        if not flat.requires_grad:
            return flat.new_zeros(batch, d, d)
        rows = torch.eye(d, dtype=y.dtype, device=y.device).unsqueeze(1).expand(d, batch, d)
        (columns,) = torch.autograd.grad(flat, y, rows, is_grads_batched=True, materialize_grads=True)
    # a recomputation is charged with one product; this one has d of them
    field.add_vjps(d - field.in_backward)
    return columns.flatten(2).transpose(0, 1).detach()


def check_size(y: Tensor) -> None:
    """Refuse states for which a dense Jacobian of every sample is out of reach.

    Raises:
        SolverOptionError: More than `LARGEST_STATE` components.
    """
    d = y[0].numel()
    if d > LARGEST_STATE:
        raise SolverOptionError(
            f"SDIRK3 factors a dense Jacobian and takes up to {LARGEST_STATE} components, not {d}",
            "use an explicit method such as Tsit5, or reduce the state",
        )


class Factored:
    """(I - hγJ)⁻¹ of every sample, for states of any shape.

    Args:
        j: Jacobians, shape (batch, d, d).
        step: hγ.
    """

    def __init__(self, j: Tensor, step: float) -> None:
        eye = torch.eye(j.shape[-1], dtype=j.dtype, device=j.device)
        self.lu, self.pivots = torch.linalg.lu_factor(eye - step * j)

    def solve(self, x: Tensor) -> Tensor:
        """(I - hγJ)⁻¹ x."""
        solved: Tensor = torch.linalg.lu_solve(self.lu, self.pivots, x.flatten(1).unsqueeze(-1))
        return solved.view_as(x)


@torch.no_grad()
def solve_stage(
    field: CountedField,
    t: Tensor,
    base: Tensor,
    step: float,
    guess: Tensor,
    factored: Factored,
    rtol: float,
    atol: float,
) -> Tensor | None:
    """K with k = f(t, base + hγ k) by simplified Newton; None where it does not converge.

    Reads one number back from the device per iteration.
    """
    k, size = guess, None
    scale = base.abs().mul_(rtol).add_(atol)
    for _ in range(ITERATIONS):
        change = factored.solve(field(t, torch.add(base, k, alpha=step)) - k)
        k = k + change
        ratio = torch.mul(change, step).div_(scale)
        new = torch.linalg.vector_norm(ratio).item() / math.sqrt(k.numel())
        if not math.isfinite(new) or (size is not None and new > 2 * size):
            return None
        # a hundredth of what the error control lets pass
        if new < 1e-2:
            return k
        size = new
    return None


def with_gradient(field: CountedField, t: Tensor, base: Tensor, step: float, k: Tensor) -> Tensor:
    """One exact Newton step from the solution k, whose derivative is that of the implicit function.

    k(base, θ) solves k = f(t, base + hγk; θ), so dk = (I - hγJ)⁻¹ (J dbase + f_θ dθ): what this expression
    differentiates to with k and J taken as constants.
    """
    j = jacobian(field, t, torch.add(base, k, alpha=step))
    factored = Factored(j, step)
    residual = field(t, torch.add(base, k, alpha=step)) - k
    return k + factored.solve(residual)
