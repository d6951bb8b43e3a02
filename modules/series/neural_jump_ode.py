"""Neural jump ODE: the conditional expectation of a process, given what was observed of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.solvers import RungeKutta, SolveStats, solve_with_updates
from integrand.spec import Spec

from ..bench.vector import VectorField
from .asked_times import with_times
from .base import Said
from .observations import rows
from .observing import ObservingFamily
from .perceptron import perceptron
from .recurrence import GAPS_PER_UNIT, LOCKSTEP
from .units import time_unit


class JumpField(nn.Module):
    """ḣ = f(tanh h, tanh X_τ, t − τ) with τ the last observation; X_τ stands still, t − τ runs.

    Args:
        width: Length of h.
        channels: Length of X.
        hidden: Width of hidden layers of f.
        time_dependent: Whether t enters too.
    """

    def __init__(self, width: int, channels: int, hidden: int, time_dependent: bool = False) -> None:
        super().__init__()
        self.width = width
        self.f = VectorField(width + channels + 1, width, time_dependent, hidden)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The derivative of [h; X_τ; t − τ], shape (batch, width + channels + 1)."""
        bounded = torch.cat((torch.tanh(y[:, :-1]), y[:, -1:]), 1)
        still = torch.zeros_like(y[:, self.width : -1])
        return torch.cat((self.f(t, bounded), still, torch.ones_like(y[:, -1:])), 1)


class NeuralJumpODE(ObservingFamily):
    """A state that follows an ODE and is computed anew at each observation; it reads out E[X_t | past].

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of h.
        hidden: Width of hidden layers.
        recurrent: Whether the state behind an observation depends on that before it; without, only the last
            observation counts, as for Markov processes in the reference.
        jump_weight: Weight of the loss at the observations given.
        unit: Unit of time of the field; five median gaps of the data where not given.
        solver: An explicit Runge–Kutta method; its steps are counted in each gap.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: An option is out of its domain.
    """

    family = "neural-jump-ode"
    title = "Neural jump ODE"
    group = "series"
    equation = "ḣ = f(h, X_τ, t − τ), h_i = ρ(X_i, h'_i), Y = g(h), min Σ (‖X_i − Y_i‖ + ‖Y_i − Y'_i‖)²"
    reference = (
        "Herrera et al. 2021, Neural Jump Ordinary Differential Equations: Consistent Continuous-Time "
        "Prediction and Filtering"
    )
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        recurrent: bool = True,
        jump_weight: float = 1.0,
        unit: float | None = None,
        solver: RungeKutta = LOCKSTEP,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        if not jump_weight > 0:
            raise UsageError(f"jump_weight={jump_weight}", "give a positive weight")
        self.unit = time_unit(GAPS_PER_UNIT * self.spec.step, unit)
        observed = self.spec.channels
        self.field: nn.Module = JumpField(channels, observed, hidden, not self.spec.autonomous)
        told = 2 * observed + self.spec.static + (channels if recurrent else 0)
        self.encode = perceptron(told, hidden, channels, 1, nn.Tanh)
        self.observe = perceptron(channels, hidden, observed, 1, nn.Tanh)
        self.width, self.recurrent, self.jump_weight = channels, recurrent, jump_weight
        self.solver = solver
        self._penalty: dict[str, Tensor] = {}

    def read(self, x: Series) -> Said:
        """The state behind the last observation."""
        before, after, stats = self.filter(x)
        if self.training:
            self._penalty = {"jump_loss": self.jump_weight * self.jump_loss(before, after, x)}
        return after[:, -1], [stats]

    def forecast(self, x: Series, times: Tensor) -> Said:
        """The conditional expectation at each time."""
        whole, place = with_times(x, times)
        before, after, stats = self.filter(whole)
        if self.training:
            self._penalty = {"jump_loss": self.jump_weight * self.jump_loss(before, after, whole)}
        return self.observe(rows(after, place)), [stats]

    def penalty(self) -> dict[str, Tensor]:
        """The loss at the observations given; see `FamilyModule.penalty`."""
        kept, self._penalty = self._penalty, {}
        return kept

    def filter(self, x: Series) -> tuple[Tensor, Tensor, SolveStats]:
        """What h is before and behind every observation, each (batch, n, width), and the account."""
        values, mask, width = x.values.unbind(1), x.mask.unbind(1), self.width

        def update(i: int, y: Tensor) -> Tensor:
            h = y[:, :width]
            known = torch.where(mask[i], values[i], self.observe(h))
            told = [known, mask[i].to(h), x.static, *([torch.tanh(h)] if self.recurrent else [])]
            jumped = torch.cat((self.encode(torch.cat(told, 1)), known, torch.zeros_like(y[:, -1:])), 1)
            return torch.where(mask[i].any(-1, keepdim=True), jumped, y)

        start = x.values.new_zeros(len(x), width + self.spec.channels + 1)
        found = solve_with_updates(self.solver, self.field, start, x.times / self.unit, update)
        before, after = (part[..., :width].transpose(0, 1) for part in (found.before, found.after))
        return before, after, found.stats

    def jump_loss(self, before: Tensor, after: Tensor, x: Series) -> Tensor:
        """Σ (‖X − Y‖ + ‖Y − Y'‖)² over observed values, per value; nothing is expected of the first.

        Args:
            before: h before every observation, shape (batch, n, width).
            after: h behind it, likewise.
            x: The series.
        """
        said, expected = self.observe(after), self.observe(before)
        off = _norm((x.values - said) * x.mask)
        jump = _norm((said - expected) * x.mask)[:, 1:]
        total = off[:, :1].square().sum() + (off[:, 1:] + jump).square().sum()
        return total / x.mask.sum().clamp(min=1)


def _norm(difference: Tensor) -> Tensor:
    """‖·‖ over channels, with a gradient at 0."""
    # what is added is below the rounding of any norm that matters
    return (difference.square().sum(-1) + 1e-16).sqrt() * (difference != 0).any(-1)
