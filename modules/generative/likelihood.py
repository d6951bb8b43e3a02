"""Log-density by the instantaneous change of variables, for every field that a flow follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from integrand.solvers import ODESolver, SolveStats

from .backbones import TimeNet
from .divergence import Trace


@dataclass
class Likelihood:
    """Log p(x) of a batch with the solve that gave it.

    Args:
        log_prob: log p(x) in nats, shape (batch,).
        z: Where the flow takes x, shape of x.
        log_det: log |det ∂z/∂x|, shape (batch,).
        kinetic: ∫ ‖f‖² dt, shape (batch,); None unless asked for.
        jacobian: ∫ ‖∂f/∂x‖²_F dt or its estimate, shape (batch,); None unless asked for.
        stats: The account of the solve.
    """

    log_prob: Tensor
    z: Tensor
    log_det: Tensor
    kinetic: Tensor | None
    jacobian: Tensor | None
    stats: SolveStats


class LogDensityField(nn.Module):
    """The field of (x, ∫ tr) and, where asked for, (∫‖f‖², ∫‖J‖²), as one flat state.

    Args:
        net: The field f(t, x).
        trace: How the trace is had.
        directions: The trace's directions for this solve, shape (k, batch, …).
        penalties: Whether the state holds the two penalties too.
    """

    def __init__(self, net: TimeNet, trace: Trace, directions: Tensor, penalties: bool) -> None:
        super().__init__()
        self.net = net
        self.trace = trace
        self.directions = directions
        self.penalties = penalties

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        """From (batch, d + 1) or (batch, d + 3) to the same; one evaluation of f with its trace."""
        shape = self.directions.shape[1:]
        d = math.prod(shape[1:])
        made = self.trace.evaluate(self.net, t, state[:, :d].reshape(shape), self.directions)
        f = made.f.flatten(1)
        columns = [f, made.trace.unsqueeze(1)]
        if self.penalties:
            columns += [f.square().sum(dim=1, keepdim=True), made.jacobian.unsqueeze(1)]
        return torch.cat(columns, dim=1)


def log_likelihood(
    net: TimeNet,
    x: Tensor,
    solver: ODESolver,
    trace: Trace,
    penalties: bool = False,
    end: float = 0.0,
) -> Likelihood:
    """Log p(x) of the flow from N(0, I) at t = `end` to the data at t = 1 (Chen et al. 2018, theorem 1).

    Integrates from the data to the noise: log p(x) = log N(z; 0, I) − ∫ tr ∂f/∂x dt.

    Args:
        net: The field f(t, x).
        x: Data, shape (batch, …).
        solver: What integrates it.
        trace: How the trace is had.
        penalties: Whether to integrate ‖f‖² and ‖J‖² too; the solver then controls their error as well.
        end: Time of the noise.

    Raises:
        SolverError: The solve failed.
    """
    field = LogDensityField(net, trace, trace.directions(x), penalties)
    start = torch.cat([x.flatten(1), x.new_zeros(len(x), 3 if penalties else 1)], dim=1)
    solution = solver.solve(field, start, [1.0, end])
    last, d = solution.ys[-1], x[0].numel()
    z, log_det, rest = last[:, :d], last[:, d], last[:, d + 1 :]
    # time runs backwards, so these integrals are negative
    kinetic, jacobian = (-rest[:, 0], -rest[:, 1]) if penalties else (None, None)
    log_prob = log_normal(z) + log_det
    return Likelihood(log_prob, z.reshape(x.shape), log_det, kinetic, jacobian, solution.stats)


def log_normal(z: Tensor) -> Tensor:
    """Log N(z; 0, I) of every sample, shape (batch,)."""
    flat = z.flatten(1)
    return -0.5 * (flat.square().sum(dim=1) + flat.shape[1] * math.log(2 * math.pi))
