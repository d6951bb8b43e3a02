"""Times of each sample's own for solvers that know common ones: one solve through the union of all."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from .accounts import CountedField
from .base import ODESolver
from .own_times import OwnTimes, over_shares, own_times
from .solution import Solution
from .time_gradients import TimeGradient

LENGTHS = ("step_size", "first_step", "max_step")
"""Options of solvers in units of t."""


def solve_through_union(
    solver: ODESolver, field: nn.Module, y0: Tensor, t: Tensor, mask: Tensor | None
) -> Solution:
    """Integrate each sample through its own times.

    Every span is taken to [0, 1], where all samples share their steps. A solver without dense output ends a
    step on every time of any sample, so many different times cost many steps.

    Args:
        solver: Takes common times.
        field: Module called as `field(t, y)` with t of shape (batch, 1, ...).
        y0: State at each sample's first time, shape (batch, ...).
        t: Shape (batch, n_t), each row monotone; may require a gradient.
        mask: Which of them count, shape (batch, n_t), bool; outputs at the others are zero.

    Raises:
        SpecError: The times do not fit.
    """
    return solve_union(solver, field, y0, own_times(t, y0, mask))


def solve_union(solver: ODESolver, field: nn.Module, y0: Tensor, own: OwnTimes) -> Solution:
    """`solve_through_union` at checked times."""
    clock = own.clock(y0)
    clocked = TimeGradient(own.times) if own.times.requires_grad and torch.is_grad_enabled() else None
    start = y0 if clocked is None else clocked.depart(y0)
    union, place = torch.unique(own.shares.cpu(), return_inverse=True)
    # samples that stay where they are leave 0 alone
    common = union.tolist() if own.longest else [0.0]
    scaled = over_shares(field, own.start, own.end, clock)
    solution = in_shares(solver, own.longest).solve(scaled, start, common)
    solution.stats.solver = solver.describe()
    samples = torch.arange(len(y0), device=y0.device)
    ys = solution.ys[place.t().to(y0.device), samples]
    if clocked is not None:
        told = CountedField(field, solution.stats, device_type=y0.device.type)
        told.start_backward()
        clocked.start(told, clock, columns=True)
        ys = clocked.arrive(ys)
    return Solution(own.times.detach(), own.blank(ys), solution.stats, solution.status, solution.failed)


def in_shares(solver: ODESolver, longest: float) -> ODESolver:
    """The solver with its lengths as shares of the longest span."""
    scaled = copy.copy(solver)
    for name in LENGTHS:
        length = getattr(solver, name, None)
        if length is not None and longest:
            setattr(scaled, name, length / longest)
    return scaled
