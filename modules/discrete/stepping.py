"""Nets that apply one step after the other: the loop, its checks and its account, shared by the families."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Solution, SolveStats
from integrand.solvers.accounts import CountedField
from integrand.solvers.problem import Problem, prepare

from ..bench import Dynamics

State = tuple[Tensor, ...]
"""What a step moves: one feature map, or two for schemes with memory or with halves."""


class Evaluator:
    """Calls residual functions, one evaluation each, and keeps the account.

    Args:
        fields: The residual functions that will be called.
        stats: The account to fill.
        y: State, for its device and dtype.
    """

    def __init__(self, fields: Sequence[nn.Module], stats: SolveStats, y: Tensor) -> None:
        self.stats = stats
        self.t = torch.zeros((), dtype=y.dtype, device=y.device)
        """Time of the current step."""
        # watched, so that vector-Jacobian products are counted as they happen: a field may not be reached
        self._counted = {f: CountedField(f, stats, device_type=y.device.type, watch=True) for f in fields}

    def __call__(self, field: nn.Module, y: Tensor) -> Tensor:
        """Evaluate `field` at the current time on one batch; the result has the shape of y."""
        counted = self._counted[field]
        value = counted(self.t, y)
        counted.last = None  # it would keep the activations alive
        return value

    def recompute(self, field: nn.Module, y: Tensor) -> Tensor:
        """Evaluate `field` once more for the backward pass: counts there, with the product that follows."""
        counted = self._counted[field]
        counted.start_backward()
        return self(field, y)


class SteppedDynamics(Dynamics):
    """x_{n+1} = step_n(x_n), n = 0 … N−1, at t_n = n h.

    Args:
        channels: Channels of the hidden state.
        blocks: Number N of steps, 1 or more.
        h: Step size.

    Raises:
        UsageError: blocks is below 1 or h is not positive.
    """

    scheme: str = ""
    """Name of the scheme in accounts."""

    def __init__(self, channels: int, blocks: int, h: float = 1.0) -> None:
        super().__init__()
        if blocks < 1:
            raise UsageError(f"blocks must be at least 1, got {blocks}", "set model.blocks, or use NoBlock")
        if not h > 0:
            raise UsageError(f"h must be positive, got {h}", "set model.h, the step size")
        self.out_channels = channels
        self.blocks = blocks
        self.h = h

    def start(self, x: Tensor) -> State:
        """The state before the first step, from the hidden state (batch, channels, height, width)."""
        return (x,)

    @abstractmethod
    def step(self, n: int, state: State, f: Evaluator) -> State:
        """The state after step n.

        Args:
            n: Number of the step, 0 … N−1.
            state: The state before it.
            f: Evaluates a residual function: `f(module, y)`.
        """

    def read(self, n: int, state: State) -> Tensor:
        """What the head reads after n steps, shape (batch, out_channels, height, width)."""
        return state[0]

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Apply every step; see `Dynamics.forward`."""
        keep_all = num_times > 2
        problem = prepare(self, h, [n * self.h for n in range(self.blocks + 1)])
        stats = SolveStats(
            solver=self.scheme, accepted=self.blocks, rejected=0, min_step=self.h, max_step=self.h
        )
        if problem.trivial:
            return problem.still(stats)
        with problem.context():
            return self._run(problem, stats, keep_all)

    def _run(self, problem: Problem, stats: SolveStats, keep_all: bool) -> Solution:
        f = Evaluator(self.residuals(), stats, problem.y0)
        state = self.start(problem.y0)
        states = [self.read(0, state)]
        for n in range(self.blocks):
            f.t = torch.full_like(f.t, n * self.h)
            before, state = state, self.step(n, state, f)
            if self.on_step is not None:
                state = (self.on_step(n, before[0], state[0]), *state[1:])
            if keep_all or n == self.blocks - 1:
                states.append(self.read(n + 1, state))
        return self._solution(problem, stats, states)

    def _solution(self, problem: Problem, stats: SolveStats, states: list[Tensor]) -> Solution:
        times = problem.times if len(states) == len(problem.times) else (problem.times[0], problem.times[-1])
        ts = torch.tensor(times, dtype=problem.time_dtype, device=problem.y0.device)
        return Solution(ts, torch.stack(states).to(problem.dtype), stats)


def require_variant(option: str, value: str, kind: object) -> None:
    """Refuse a variant that is not among the values of the `Literal` type `kind`.

    Raises:
        UsageError: Names the option and its values.
    """
    if value not in get_args(kind):
        raise UsageError(
            f"unknown {option} {value!r}", f"set model.{option} to one of {', '.join(get_args(kind))}"
        )


def require_even(channels: int) -> int:
    """`channels`, if it splits into two halves.

    Raises:
        UsageError: It is odd or below 2.
    """
    if channels < 2 or channels % 2:
        raise UsageError(
            f"channels must be even, because the state is split in halves, got {channels}",
            f"set model.channels to {max(2, channels + 1)}",
        )
    return channels
