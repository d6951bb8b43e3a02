"""GRU-ODE-Bayes: a bounded state that follows the continuous GRU, and jumps to what is observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import RungeKutta, SolveStats, solve_with_updates
from integrand.spec import Forecast, SeriesSpec, Spec

from .asked_times import with_times
from .base import Said
from .gaussian import bounded_gaussian, divergence, negative_log_density
from .observations import rows, truth
from .observing import ObservingFamily
from .perceptron import perceptron
from .recurrence import GAPS_PER_UNIT, LOCKSTEP
from .units import time_unit


class GRUODEField(nn.Module):
    """ḣ = (1 − z) ⊙ (u − h), u = tanh(U (r ⊙ h) + …), with gates r and z: |h| ≤ 1 stays so (eq. 3).

    Args:
        width: Length of h.
        time_dependent: Whether t enters the gates.
    """

    def __init__(self, width: int, time_dependent: bool = False) -> None:
        super().__init__()
        self.time_dependent = time_dependent
        inputs = width + time_dependent
        self.gates = nn.Linear(inputs, 2 * width)
        self.candidate = nn.Linear(inputs, width)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """The derivative, shape (batch, width)."""
        clock = [t.to(h.dtype).expand(len(h), 1)] if self.time_dependent else []
        r, z = torch.sigmoid(self.gates(torch.cat([h, *clock], 1))).chunk(2, 1)
        u = torch.tanh(self.candidate(torch.cat([r * h, *clock], 1)))
        return (1 - z) * (u - h)


class BayesJump(nn.Module):
    """h ← GRU(f_prep(x, μ, log σ², (x − μ)/σ), h), what is not observed left out (eq. 4).

    Args:
        spec: Channels and static numbers.
        width: Length of h.
        prep: Numbers that each channel's observation is made into.
    """

    def __init__(self, spec: SeriesSpec, width: int, prep: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(spec.channels, 4, prep) / 2)
        self.bias = nn.Parameter(torch.full((spec.channels, prep), 0.1))
        self.cell = nn.GRUCell(spec.channels * prep + spec.static, width)

    def forward(
        self, h: Tensor, x: Tensor, mask: Tensor, mean: Tensor, log_var: Tensor, static: Tensor
    ) -> Tensor:
        """The state behind an observation.

        Args:
            h: Shape (batch, width).
            x: Shape (batch, channels).
            mask: What was observed, likewise, bool.
            mean: What was expected, likewise.
            log_var: log σ² of it, likewise.
            static: Shape (batch, s).
        """
        told = torch.stack((x, mean, log_var, (x - mean) * torch.exp(-0.5 * log_var)), -1)
        made = torch.relu(torch.einsum("bcf,cfp->bcp", told, self.weight) + self.bias)
        made = torch.where(mask[..., None], made, 0.0)
        jumped: Tensor = self.cell(torch.cat((made.flatten(1), static), 1), h)
        return torch.where(mask.any(-1, keepdim=True), jumped, h)


@dataclass(frozen=True)
class Filtered:
    """What is expected of observations before and behind each, and the state there.

    Args:
        before: Mean and log-variance before each observation, each (batch, n, channels).
        after: Likewise behind it.
        states: State behind it, shape (batch, n, width).
        stats: The account of the solves.
    """

    before: tuple[Tensor, Tensor]
    after: tuple[Tensor, Tensor]
    states: Tensor
    stats: SolveStats


class GRUODEBayes(ObservingFamily):
    """A continuous GRU between observations, a discrete one at each; it says a Gaussian at every time.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of h.
        hidden: Width of the hidden layer that makes means and variances from h.
        prep: Numbers that each channel's observation is made into.
        update_weight: Weight λ of the divergence of what is expected behind an observation from Bayes' rule.
        noise: Standard deviation of an observation in Bayes' rule, in units of a batch.
        joint: Weight of the density of the observations, beside the loss of classes or targets.
        draws: Draws from the Gaussian in validation and test.
        unit: Unit of time of the field; five median gaps of the data where not given.
        solver: An explicit Runge–Kutta method; its steps are counted in each gap.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: An option is out of its domain.
    """

    family = "gru-ode-bayes"
    title = "GRU-ODE-Bayes"
    group = "series"
    equation = (
        "ḣ = (1 − z)(u − h), h_i = GRU(f_prep(x_i, h'_i), h'_i), "
        "min −log p(x_i | h'_i) + λ KL(p_Bayes ‖ p(· | h_i))"
    )
    reference = (
        "De Brouwer et al. 2019, GRU-ODE-Bayes: Continuous Modeling of Sporadically-Observed Time Series"
    )
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        prep: int = 8,
        update_weight: float = 1e-2,
        noise: float = 0.1,
        joint: float = 0.1,
        draws: int = 16,
        unit: float | None = None,
        solver: RungeKutta = LOCKSTEP,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        if min(prep, draws) < 1 or not min(update_weight, noise, joint) > 0:
            raise UsageError(
                f"prep={prep}, draws={draws}, update_weight={update_weight}, noise={noise}, joint={joint}",
                "give positive numbers",
            )
        self.unit = time_unit(GAPS_PER_UNIT * self.spec.step, unit)
        self.field: nn.Module = GRUODEField(channels, not self.spec.autonomous)
        self.jump = BayesJump(self.spec, channels, prep)
        self.expect = perceptron(channels, hidden, 2 * self.spec.channels, 1)
        self.update_weight, self.noise, self.joint, self.num_draws = update_weight, noise, joint, draws
        self.solver = solver

    # ------------------------------------------------------------------ the model

    def expected(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of an observation, each (…, channels), for h of shape (…, channels)."""
        return bounded_gaussian(self.expect(h))

    def filter(self, x: Series) -> Filtered:
        """Go through the series."""
        values, mask = x.values.unbind(1), x.mask.unbind(1)
        before: list[tuple[Tensor, Tensor]] = []

        def update(i: int, h: Tensor) -> Tensor:
            before.append(self.expected(h))
            jumped: Tensor = self.jump(h, values[i], mask[i], *before[i], x.static)
            return jumped

        start = x.values.new_zeros(len(x), self.jump.cell.hidden_size)
        found = solve_with_updates(self.solver, self.field, start, x.times / self.unit, update)
        states = found.after.transpose(0, 1)
        means, log_vars = (torch.stack(parts, 1) for parts in zip(*before, strict=True))
        return Filtered((means, log_vars), self.expected(states), states, found.stats)

    def read(self, x: Series) -> Said:
        """The state behind the last observation."""
        found = self.filter(x)
        return found.states[:, -1], [found.stats]

    def forecast(self, x: Series, times: Tensor) -> Said:
        """What is expected at each time."""
        whole, place = with_times(x, times)
        found = self.filter(whole)
        return rows(found.after[0], place), [found.stats]

    @property
    def components(self) -> int | None:
        """As many as one asks for of a forecast; see `FamilyModule.components`."""
        return None if isinstance(self.spec.question, Forecast) else 1

    def drawn(self, x: Series, count: int, times: Tensor | None) -> Said:
        """Of the normal law at each time, one by itself; see `SeriesFamily.drawn`."""
        if times is None:
            raise self.task.unanswered()
        whole, place = with_times(x, times)
        found = self.filter(whole)
        mean, log_var = (rows(part, place) for part in found.after)
        noise = torch.randn(count, *mean.shape).to(mean)
        return mean + torch.exp(0.5 * log_var) * noise, [found.stats]

    def update_loss(self, found: Filtered, x: Series) -> Tensor:
        """KL(p_Bayes ‖ p behind the observation), mean over observed values (eq. 6).

        p_Bayes ∝ p before the observation times N(x, noise²).
        """
        mean, log_var = found.before
        precision = torch.exp(-log_var) + self.noise**-2
        middle = (mean * torch.exp(-log_var) + x.values * self.noise**-2) / precision
        apart = divergence(middle, -precision.log(), *found.after)
        return torch.where(x.mask, apart, 0.0).sum() / x.mask.sum().clamp(min=1)

    # ------------------------------------------------------------------ steps

    def step(self, batch: Any, stage: str) -> Outcome:
        """The density of observations before they are read, and λ times the divergence behind them."""
        x, asked = self.taken(batch)
        query = asked if isinstance(asked, Query) else None
        whole, place = (x, None) if query is None else with_times(x, query.times)
        found = self.filter(whole)
        density = negative_log_density(truth(whole), *found.before)
        outcome = Outcome({}, len(x), {}, None, asked, [found.stats], x)
        if query is None or place is None:
            said = self.head(found.states[:, -1])
            outcome.terms, outcome.prediction = {"loss": self.task.loss(said, asked)}, said.detach()
            if stage == "train":
                outcome.terms["density_loss"] = self.joint * mean_known(density)
        else:
            mean, log_var = (rows(part, place) for part in found.after)
            asked_density = negative_log_density(query.truth.to(mean), mean, log_var)
            outcome.terms = {"loss": mean_known(torch.cat((density, asked_density), 1))}
            outcome.scores = {"nll": mean_known(asked_density).detach()}
            self._show(outcome, mean.detach(), log_var.detach(), query, stage)
        if stage == "train":
            outcome.terms["update_loss"] = self.update_weight * self.update_loss(found, whole)
        return outcome

    def _show(self, outcome: Outcome, mean: Tensor, log_var: Tensor, query: Query, stage: str) -> None:
        outcome.prediction, outcome.target, outcome.times = mean, query.truth, query.times
        if stage != "train":
            outcome.draws = mean + torch.exp(0.5 * log_var) * torch.randn(self.num_draws, *mean.shape).to(
                mean
            )


def mean_known(values: Tensor) -> Tensor:
    """Mean over what is not NaN; 0 where all is."""
    known = ~values.isnan()
    return torch.where(known, values, 0.0).sum() / known.sum().clamp(min=1)
