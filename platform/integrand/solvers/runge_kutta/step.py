"""One explicit Runge–Kutta step, with as few kernels as the stage sums need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .interpolant import Row
from .tableau import Tableau

Field = Callable[[Tensor, Tensor], Tensor]


def add_stages(y: Tensor, stages: Sequence[Tensor], weights: Row, h: float | Tensor) -> Tensor:
    """The state y + h Σ w_j k_j as a chain of fused multiply-adds into one new tensor.

    Args:
        y: State, shape (batch, ...).
        stages: The k_j, shape of y.
        weights: (stage, weight) pairs.
        h: Step: a number, or a tensor that broadcasts against y (one step for each sample, or a 0-d
            tensor, which a compiled step takes without recompiling).
    """
    if isinstance(h, Tensor):
        for j, w in weights:
            y = torch.addcmul(y, stages[j], h, value=w)
        return y
    j, w = weights[0]
    total = torch.add(y, stages[j], alpha=h * w)
    for j, w in weights[1:]:
        total.add_(stages[j], alpha=h * w)
    return total


def sum_stages(stages: Sequence[Tensor], weights: Row, h: float | Tensor) -> Tensor:
    """The error estimate h Σ w_j k_j."""
    j, w = weights[0]
    total = torch.mul(stages[j], w * h)
    for j, w in weights[1:]:
        if isinstance(h, Tensor):
            total.addcmul_(stages[j], h, value=w)
        else:
            total.add_(stages[j], alpha=w * h)
    return total


def sum_up_to_factor(stages: Sequence[Tensor], weights: Row) -> tuple[Tensor, float]:
    """Σ w_j k_j without its factor, the first weight, and that: a kernel less where a norm is all it is for.

    Args:
        stages: The k_j.
        weights: (stage, weight) pairs, at least two, the largest weight first, so that nothing overflows.
    """
    (i, factor), (j, second) = weights[0], weights[1]
    total = torch.add(stages[i], stages[j], alpha=second / factor)
    for j, w in weights[2:]:
        total.add_(stages[j], alpha=w / factor)
    return total, factor


def stage_times(tableau: Tableau, t: float, h: float, end: float) -> list[float]:
    """Times of the stages; nodes at 1 get the end itself, free of rounding."""
    return [end if c == 1 else t + c * h for c in tableau.c]


def step(
    tableau: Tableau,
    field: Field,
    times: Sequence[Tensor],
    h: float | Tensor,
    y: Tensor,
    k1: Tensor | None,
    all_stages: bool,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Take one step.

    Args:
        tableau: The method.
        field: Called as `field(t, y)`.
        times: Time of each stage, shape () or broadcasting against y.
        h: Step, signed.
        y: State at the start, shape (batch, ...).
        k1: Field at the start where it is known.
        all_stages: Evaluate also the last stage that y₁ does not need: for the error estimate, the next step
            or the dense output.

    Returns:
        The state at the end, the stages, and the state at which the second-last stage was evaluated.
    """
    stages = [field(times[0], y) if k1 is None else k1]
    before = argument = y
    for i in range(1, tableau.needed):
        before, argument = argument, add_stages(y, stages, tableau.rows[i], h)
        stages.append(field(times[i], argument))
    end = add_stages(y, stages, tableau.step_row, h)
    if tableau.fsal:
        before = argument
    if all_stages:
        for i in range(tableau.needed, tableau.stages):
            argument = end if tableau.fsal else add_stages(y, stages, tableau.rows[i], h)
            stages.append(field(times[i], argument))
    return end, stages, before
