"""The steps of fixed-step solvers, shown one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from .accounts import CountedField
from .base import ODESolver
from .clock import times_tensor
from .dense import Piece, hermite
from .problem import grid, prepare
from .solution import SolveStats

CHUNK = 16
"""Steps of one solve, so that little is wasted beyond the one where watching ends."""


@torch.no_grad()
def watch_nodes(
    solver: ODESolver,
    field: nn.Module,
    y0: Tensor,
    t: tuple[float, float],
    step_size: float | None,
    num_steps: int | None,
    look: Callable[[Piece], bool],
) -> SolveStats:
    """`ODESolver.watch` for a solver of fixed steps: cubics of Hermite through its nodes.

    Args:
        solver: Every output time is a node of its solves.
        field: The field; evaluated once more at every node.
        y0: State at the first time, shape (batch, ...).
        t: First and last time.
        step_size: Longest step, or None.
        num_steps: Number of steps, where step_size is None.
        look: See `ODESolver.watch`.
    """
    problem = prepare(field, y0, t)
    (nodes,) = grid(problem.times, step_size, num_steps)
    slopes = CountedField(field, SolveStats(solver=solver.describe()), device_type=y0.device.type)
    times = times_tensor(nodes, problem.clock, y0.device).unbind()
    accounts, y = [slopes.stats], problem.y0
    with problem.context():
        slope = slopes(times[0], y)
    for first in range(0, len(nodes) - 1, CHUNK):
        part = nodes[first : first + CHUNK + 1]
        solution = one_step_between(solver, part).solve(field, y, part)
        accounts.append(solution.stats)
        for i, (a, b) in enumerate(pairwise(part)):
            end = solution.ys[i + 1]
            with problem.context():
                last = slopes(times[first + i + 1], end)
            if look(hermite(a, b - a, y, end, slope, last)):
                return SolveStats.total(accounts)
            y, slope = end, last
    return SolveStats.total(accounts)


def one_step_between(solver: ODESolver, nodes: list[float]) -> ODESolver:
    """The solver with one step from each node to the next."""
    single = copy.copy(solver)
    # behind what any of the nodes leave between them, so that rounding adds no step
    length = 2 * max(abs(b - a) for a, b in pairwise(nodes))
    for name, value in {"step_size": length, "num_steps": None}.items():
        setattr(single, name, value)
    return single
