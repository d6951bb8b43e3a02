"""Equations with a constant delay: method of steps by a Runge–Kutta method with interpolated history."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from .accounts import CountedField
from .errors import SolverOptionError
from .options import require_positive, require_steps, spell, spell_steps
from .problem import grid, prepare, require_finite
from .solution import Solution, SolveStats

MAX_STEPS = 10_000
"""Most steps that a delay may force; a delay that needs more is a mistake, not a model."""


class MethodOfSteps:
    """ẏ(t) = f(t, y(t), y(t − τ)) with y = y0 up to the start, by classical RK4 with cubic Hermite history.

    No step is longer than τ, so that everything asked for lies behind the current step, and the times τ, 2τ,
    … at which derivatives jump are nodes (Bellen and Zennaro 2003, Numerical Methods for Delay Differential
    Equations). Each step costs four evaluations. With τ = 0 it is RK4 on the ODE ẏ = f(t, y, y).

    Gradients are those of the steps (backprop); all states stay in memory.

    Args:
        delay: τ, 0 or more, in units of t.
        step_size: Longest step.
        num_steps: Number of steps over the whole time span, instead of step_size; more where τ or the output
            times ask for shorter ones.
        autocast: Evaluate the field under the caller's autocast instead of full precision.

    Raises:
        SolverOptionError: The delay is negative, or not exactly one of step_size and num_steps is given.
    """

    order: ClassVar[int] = 4

    def __init__(
        self,
        delay: float,
        step_size: float | None = None,
        num_steps: int | None = None,
        autocast: bool = False,
    ) -> None:
        if not (delay >= 0 and math.isfinite(delay)):
            raise SolverOptionError(
                f"delay must be 0 or more, got {delay}", "set delay to the length of the memory τ"
            )
        require_positive(step_size=step_size, num_steps=num_steps)
        require_steps("the method of steps", step_size, num_steps)
        self.delay = delay
        self.step_size = step_size
        self.num_steps = num_steps
        self.autocast = autocast

    def describe(self) -> str:
        """Such as `rk4 delay=0.5 num_steps=8`."""
        return f"rk4 delay={spell(self.delay)} {spell_steps(self.step_size, self.num_steps)}"

    def nodes(self, times: Sequence[float]) -> list[float]:
        """Nodes of the solve: output times, multiples of the delay, and equal steps between them.

        Args:
            times: Output times, strictly increasing, two or more.

        Raises:
            SolverOptionError: The times decrease, or the delay needs more than `MAX_STEPS` steps.
        """
        span = times[-1] - times[0]
        if span < 0:
            raise SolverOptionError("an equation with a delay has no backward solve", "pass increasing times")
        longest = span / self.num_steps if self.num_steps else self.step_size
        assert longest is not None
        stops = sorted([*times, *self._jumps(times)])
        return [times[0], *(b for interval in grid(stops, longest, None) for b in interval[1:])]

    def _jumps(self, times: Sequence[float]) -> list[float]:
        """Multiples of the delay after the first time that are no output times."""
        if not self.delay:
            return []
        start, span = times[0], times[-1] - times[0]
        if span / self.delay > MAX_STEPS:
            raise SolverOptionError(
                f"delay={self.delay:g} needs {span / self.delay:.3g} steps: none may be longer",
                "set a longer delay, or 0 for none",
            )
        jumps = [start + k * self.delay for k in range(1, math.floor(span / self.delay) + 1)]
        # a jump that misses an output time by rounding is that output time
        return [j for j in jumps if min(abs(j - s) for s in _neighbours(times, j)) > 1e-12 * span]

    def solve(self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float]) -> Solution:
        """Integrate from t[0] through every time of t.

        Args:
            field: Module called as `field(t, y, delayed)` with t a 0-d tensor, y and delayed = y(t − τ) of
                y0's shape; returns dy/dt of the same shape.
            y0: State at and before t[0], shape (batch, ...).
            t: Output times, shape (n_t,), strictly increasing.

        Returns:
            Solution with ys of shape (n_t, *y0.shape) and ys[0] equal to y0.

        Raises:
            SolverOptionError: The times decrease, or the delay needs too many steps.
            SolverError: The state is not finite.
        """
        problem = prepare(field, y0, t, self.autocast)
        stats = SolveStats(solver=self.describe(), accepted=0, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        nodes = self.nodes(problem.times)
        steps = [b - a for a, b in pairwise(nodes)]
        stats.accepted, stats.min_step, stats.max_step = len(steps), min(steps), max(steps)
        delayed = _Delayed(field)
        counted = CountedField(delayed, stats, autocast=self.autocast, device_type=y0.device.type, watch=True)
        with problem.context():
            clock = problem.clock_of(min(steps))
            states = self._integrate(counted, delayed, problem.y0, nodes, clock)
        counted.last = delayed.past = None
        require_finite(stats.solver, states[-1], nodes[-1], stats.nfe_forward)
        return problem.finish(
            torch.stack([states[bisect_left(nodes, time)] for time in problem.times]), stats
        )

    def _integrate(
        self, field: CountedField, delayed: _Delayed, y: Tensor, nodes: list[float], dtype: torch.dtype
    ) -> list[Tensor]:
        middles = [(a + b) / 2 for a, b in pairwise(nodes)]
        clock = torch.tensor(nodes, dtype=dtype).to(y.device, non_blocking=True).unbind()
        between = torch.tensor(middles, dtype=dtype).to(y.device, non_blocking=True).unbind()
        states, slopes = [y], list[Tensor]()

        def past(time: float) -> Tensor | None:
            return _interpolate(nodes, states, slopes, time - self.delay) if self.delay else None

        for n, (a, b) in enumerate(pairwise(nodes)):
            h = b - a
            delayed.past = past(a)
            k1 = field(clock[n], y)
            slopes.append(k1)
            delayed.past = past(middles[n])
            k2 = field(between[n], torch.add(y, k1, alpha=h / 2))
            k3 = field(between[n], torch.add(y, k2, alpha=h / 2))
            delayed.past = past(b)
            k4 = field(clock[n + 1], torch.add(y, k3, alpha=h))
            y = torch.add(y, k1 + 2 * (k2 + k3) + k4, alpha=h / 6)
            states.append(y)
        return states


class _Delayed(nn.Module):
    """A field of (t, y, delayed) as one of (t, y), which is what is counted; without a past, delayed = y."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.past: Tensor | None = None

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        value: Tensor = self.field(t, y, y if self.past is None else self.past)
        return value


def _neighbours(times: Sequence[float], value: float) -> Sequence[float]:
    """The output times on either side of a value."""
    i = bisect_left(times, value)
    return times[max(0, i - 1) : i + 1]


def _interpolate(nodes: list[float], states: list[Tensor], slopes: list[Tensor], time: float) -> Tensor:
    """y(time) behind the current step: y0 up to the start, a state at a node, cubic Hermite between nodes."""
    if time <= nodes[0]:
        return states[0]
    j = min(bisect_right(nodes, time) - 1, len(states) - 1)
    slack = 1e-12 * (nodes[-1] - nodes[0])
    # at a node up to rounding; beyond the last complete step only rounding can reach
    if time - nodes[j] <= slack or j == len(states) - 1:
        return states[j]
    if nodes[j + 1] - time <= slack:
        return states[j + 1]
    h = nodes[j + 1] - nodes[j]
    s = (time - nodes[j]) / h
    left = (1 + 2 * s) * (1 - s) ** 2
    y = left * states[j] + (1 - left) * states[j + 1]
    y = torch.add(y, slopes[j], alpha=h * s * (1 - s) ** 2)
    return torch.add(y, slopes[j + 1], alpha=h * s**2 * (s - 1))
