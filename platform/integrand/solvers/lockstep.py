"""States that change at each sample's own observations, all samples in lockstep over their own gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .errors import SolverOptionError
from .own_times import own_times
from .runge_kutta import RungeKutta
from .solution import SolveStats

Update = Callable[[int, Tensor], Tensor]
"""Called as `update(j, y)` with the states at the samples' observations number j; returns the new states."""


@dataclass(frozen=True)
class Updated:
    """A trajectory that jumps at observations.

    Args:
        before: States at the observations as they arrive there, shape (n, batch, ...).
        after: States that go on from there, likewise.
        stats: The account of all gaps together.
    """

    before: Tensor
    after: Tensor
    stats: SolveStats


def solve_with_updates(
    solver: RungeKutta,
    field: nn.Module,
    y0: Tensor,
    t: Tensor,
    update: Update,
    mask: Tensor | None = None,
) -> Updated:
    """Integrate from observation to observation of each sample, and change the state at each.

    What an ODE-RNN does: observation j of all samples is met together, each at its own time, so the cost is
    that of n gaps and not of all different times. Adaptive steps begin with the whole gap.

    Args:
        solver: A Runge–Kutta method; steps of num_steps are counted in each gap. One step of RK4 in each gap
            is as accurate as most data are.
        field: Module called as `field(t, y)` with t of shape (batch, 1, ...).
        y0: State before the first observation, shape (batch, ...).
        t: Times of observations, shape (batch, n), each row monotone, with repetitions where it likes; the
            state starts at the first. May require a gradient.
        update: The change of state.
        mask: Which observations exist, shape (batch, n), bool; others change nothing.

    Returns:
        The states before and after every observation.

    Raises:
        SolverOptionError: The solver is not a Runge–Kutta method.
        SpecError: Times that do not fit.
        SolverError: A solve failed.
    """
    if not isinstance(solver, RungeKutta):
        raise SolverOptionError(
            f"{type(solver).__name__} does not go in lockstep", "use an explicit Runge–Kutta method"
        )
    own = own_times(t, y0, mask)
    stats = SolveStats(solver=solver.describe(), gradient=solver.gradient, accepted=0, rejected=0)
    y, before, after = y0, list[Tensor](), list[Tensor]()
    for j, gap in enumerate([None, *own.gaps(y0)]):
        if gap is not None:
            y = solver.solve_own(field, y, gap, stats, first_step=1.0).ys[-1]
        before.append(y)
        changed = update(j, y)
        y = changed if mask is None else torch.where(_wide(own.mask, j, y), changed, y)
        after.append(y)
    return Updated(torch.stack(before), torch.stack(after), stats)


def _wide(mask: Tensor | None, j: int, y: Tensor) -> Tensor:
    assert mask is not None
    return mask[:, j].view(-1, *[1] * (y.ndim - 1))
