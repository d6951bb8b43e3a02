"""The instantaneous change of variables, for every field that a flow or a diffusion model follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from integrand.solvers import ODESolver, SolveStats

from .divergence import Linearised, Trace


@dataclass
class Transport:
    """Where a field takes a batch, and how it changes volume on the way.

    Args:
        z: Where the field takes x, shape of x.
        log_det: log |det ∂z/∂x|, shape (batch,).
        kinetic: ∫ ‖f‖² dt, shape (batch,); None unless asked for.
        jacobian: ∫ ‖∂f/∂x‖²_F dt or its estimate, shape (batch,); None unless asked for.
        stats: The account of the solve.
    """

    z: Tensor
    log_det: Tensor
    kinetic: Tensor | None
    jacobian: Tensor | None
    stats: SolveStats


def transport(
    field: Linearised,
    x: Tensor,
    times: tuple[float, float],
    solver: ODESolver,
    trace: Trace,
    directions: Tensor,
    penalties: bool = False,
) -> Transport:
    """Follow ẋ = f(t, x) with log |det ∂x(t)/∂x(0)| = ∫ tr ∂f/∂x dt (Chen et al. 2018, theorem 1).

    Args:
        field: f with its Jacobian products.
        x: Where to start, shape (batch, …).
        times: First and last time.
        solver: What integrates it.
        trace: How the trace is had.
        directions: The trace's directions for this solve, shape (k, batch, …).
        penalties: Whether to integrate ‖f‖² and ‖J‖² too, over time running either way; the solver then
            controls their error as well.

    Raises:
        SolverError: The solve failed.
    """
    augmented = _Augmented(field, trace, directions, penalties)
    start = torch.cat([x.flatten(1), x.new_zeros(len(x), 3 if penalties else 1)], dim=1)
    solution = solver.solve(augmented, start, list(times))
    last, d = solution.ys[-1], x[0].numel()
    z, log_det, rest = last[:, :d], last[:, d], last[:, d + 1 :]
    forward = 1 if times[1] >= times[0] else -1
    kinetic, jacobian = (forward * rest[:, 0], forward * rest[:, 1]) if penalties else (None, None)
    return Transport(z.reshape(x.shape), log_det, kinetic, jacobian, solution.stats)


class _Augmented(nn.Module):
    """The field of (x, ∫ tr) and, where asked for, (∫‖f‖², ∫‖J‖²), as one flat state."""

    def __init__(self, field: Linearised, trace: Trace, directions: Tensor, penalties: bool) -> None:
        super().__init__()
        self.field, self.trace, self.directions, self.penalties = field, trace, directions, penalties

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        """From (batch, d + 1) or (batch, d + 3) to the same; one evaluation of f with its trace."""
        shape = self.directions.shape[1:]
        d = math.prod(shape[1:])
        made = self.trace.evaluate(self.field, t, state[:, :d].reshape(shape), self.directions)
        f = made.f.flatten(1)
        columns = [f, made.trace.unsqueeze(1)]
        if self.penalties:
            columns += [f.square().sum(dim=1, keepdim=True), made.jacobian.unsqueeze(1)]
        return torch.cat(columns, dim=1)


def log_normal(z: Tensor) -> Tensor:
    """Log N(z; 0, I) of every sample, shape (batch,)."""
    flat = z.flatten(1)
    return -0.5 * (flat.square().sum(dim=1) + flat.shape[1] * math.log(2 * math.pi))
