"""Neural jump SDE: a latent state that drifts and diffuses between events and jumps at each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import EulerMaruyama, SolveStats
from integrand.spec import Classes, Events, Forecast, Spec, Targets
from integrand.tasks.point_process import came

from ..bench.accounts import StagedStats
from .asked_times import with_times
from .base import Said
from .gaussian import negative_log_density
from .jump_equation import JumpNets
from .jump_simulation import simulate
from .lockstep_sde import Gradient, InPlaces, PathNormals
from .observations import rows, truth
from .observing import ObservingFamily
from .recurrence import GAPS_PER_UNIT
from .units import time_unit

Kinds = Literal["one", "channels"]
SEED = 0
"""Of the paths of an evaluation, the same for every model and batch."""


@dataclass(frozen=True)
class Followed:
    """Paths of the state through a series.

    Args:
        before: States as they arrive at each observation, shape (paths, batch, n, width).
        after: States behind it, likewise.
        between: States at the ends of all steps, shape (n − 1, steps + 1, paths, batch, width).
        stats: The account of all gaps.
    """

    before: Tensor
    after: Tensor
    between: Tensor
    stats: SolveStats


class NeuralJumpSDE(ObservingFamily):
    """A latent state that follows a stochastic equation between events and jumps at each, by its mark.

    Each observation is an event: its values are the mark, and where its time is news too, the intensity λ
    gives the likelihood of a point process, Σ log λ(zₜ₋) − ∫ λ dt, given the first time and up to the last.
    The likelihood is averaged over paths of the noise before its logarithm is taken: a bound from below that
    grows tight with their number (Burda et al. 2016), and the likelihood itself without noise. A forecast is
    read off paths that jump at what is given alone.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of z.
        hidden: Width of hidden layers.
        sigma: Bound of the diffusion; 0 for a jump ODE, as in the reference.
        events: Whether times are events, whose likelihood counts; by default where series are irregular.
        kinds: `one` intensity, or one for each of the `channels`: an event is then of the kinds that it
            observes. By default the latter where values may be missing.
        joint: Weight of the likelihood, beside the loss of classes or targets.
        paths: Paths of each series in training.
        draws: Paths in evaluation.
        steps: Steps of the Euler–Maruyama method between two events, or places at which it is watched; by
            default 2, and 1 where λ is watched.
        watch: Places in each median gap at which λ is watched beside the events, so that nothing can happen
            between them unseen: at random in training, on a grid of half the width in evaluation.
        unit: Unit of time of the equation; five median gaps of the data where not given.
        gradient: `backprop` keeps the graph of every step, `checkpoint` one state for each step.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: An option is out of its domain.
    """

    family = "neural-jump-sde"
    title = "Neural jump SDE"
    group = "series"
    equation = "dz = f(z) dt + g(z) dW + w(z, x) dN, λ = λ(z), max Σ log λ(z') − ∫ λ dt + Σ log p(x | z')"
    answers = (Classes, Targets, Forecast, Events)
    reference = "Jia & Benson 2019, Neural Jump Stochastic Differential Equations"
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 16,
        hidden: int = 32,
        sigma: float = 0.5,
        events: bool | None = None,
        kinds: Kinds | None = None,
        joint: float = 0.1,
        paths: int = 4,
        draws: int = 16,
        steps: int | None = None,
        watch: int = 4,
        unit: float | None = None,
        gradient: Gradient = "backprop",
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        if min(paths, draws, steps or 1, watch) < 1 or not joint > 0 or not 0 <= sigma < math.inf:
            raise UsageError(
                f"paths={paths}, draws={draws}, steps={steps}, watch={watch}, joint={joint}, sigma={sigma}",
                "give positive numbers; model.sigma may be 0",
            )
        if kinds not in (None, "one", "channels"):
            raise UsageError(f"unknown kinds {kinds!r}", "set model.kinds to one or channels")
        self.unit = time_unit(GAPS_PER_UNIT * self.spec.step, unit)
        number = self._kinds(kinds, events)
        rate = self.unit / self.spec.step
        self.nets = JumpNets(self.spec, channels, hidden, sigma, number, rate, not self.of_events)
        self.joint, self.paths, self.num_draws, self.watch = joint, paths, draws, watch
        self.steps = steps or (1 if number else 2)
        self.scheme = EulerMaruyama(num_steps=self.steps, gradient=gradient)
        self.stochastic = sigma > 0

    @property
    def of_events(self) -> bool:
        """Whether nothing is asked but when which kind of event comes."""
        return isinstance(self.spec.question, Events)

    def _kinds(self, kinds: Kinds | None, events: bool | None) -> int:
        """How many intensities there are."""
        if self.of_events:
            if kinds == "one" or events is False:
                raise UsageError(
                    f"{self.spec.name} asks when which kind of event comes",
                    "leave out model.kinds and model.events",
                )
            return self.spec.channels
        if not (self.spec.irregular if events is None else events):
            return 0
        return self.spec.channels if kinds == "channels" or (kinds is None and self.spec.missing) else 1

    def watched(self, x: Series) -> Series:
        """The series with times between events at which λ is looked at; as it is without an intensity.

        With places in proportion to each gap an equation learns to be high at the last of them alone, and the
        likelihood it claims is above that of the process that made the data.
        """
        if self.nets.intensity is None:
            return x
        width = self.spec.step / self.watch * (1.0 if self.training else 0.5)
        begin, end = x.times[:, :1], x.end[:, None]
        count = int(torch.ceil((end - begin).max() / width))
        offset = torch.rand(len(x), 1).to(begin) if self.training else begin.new_ones(1, 1)
        places = begin + width * (torch.arange(count, device=begin.device) + offset)
        return with_times(x, torch.minimum(places, end))[0]

    # ------------------------------------------------------------------ the model

    def follow(self, x: Series, paths: int, seed: int | None = None) -> Followed:
        """Paths of the state through series.

        Args:
            x: The series; at times at which nothing was observed nothing jumps.
            paths: How many of each.
            seed: Of noise that all series share; None for noise of each one's own, from torch's generator.
        """
        y = self.nets.begin.expand(paths * len(x), -1)
        n, width = x.times.shape[1], y.shape[1]
        values, mask = (part.repeat(paths, 1, 1).unbind(1) for part in (x.values, x.mask))
        static = x.static.repeat(paths, 1)
        equation = InPlaces(self.nets.between, (x.times / self.unit).repeat(paths, 1), self.steps, y.dtype)
        noise = PathNormals(len(y), 1, y) if seed is None else PathNormals(paths, len(x), y, seed)
        stats, before, after, between = StagedStats(self.scheme.describe()), [], [], []
        for i in range(n):
            if i > 0:
                places = [i - 1 + step / self.steps for step in range(self.steps + 1)]
                driven = noise.behind((i - 1) * self.steps)
                # by the numbers of steps, see PathNormals
                solution = self.scheme.solve(equation, y, places, brownian=driven)  # type: ignore[arg-type]
                stats.add(solution.stats)
                between.append(solution.ys)
                y = solution.ys[-1]
            before.append(y)
            y = self.nets.jump(y, values[i], mask[i], self.nets.marks(y)[0], static)
            after.append(y)
        inner = torch.stack(between) if between else y.new_zeros(0, self.steps + 1, *y.shape)
        shape = (paths, len(x), n, width)
        arriving, leaving = (torch.stack(part, 1).view(shape) for part in (before, after))
        return Followed(arriving, leaving, inner.view(n - 1, self.steps + 1, paths, len(x), width), stats)

    def log_likelihood(self, found: Followed, x: Series, end: Tensor | None = None) -> Tensor:
        """Of each path, shape (paths, batch): the densities of the events' times, and of the marks unless
        their kinds are all that is asked for.

        Args:
            found: Paths through `x`.
            x: The series.
            end: Times up to which events were looked for, shape (batch,); the last one where omitted.
        """
        total = found.before.new_zeros(found.before.shape[:2])
        if not self.of_events:
            marks = -negative_log_density(truth(x), *self.nets.marks(found.before)).nan_to_num()
            total = marks.sum((2, 3))
        if self.nets.intensity is None:
            return total
        # the first event's time is given
        happened = (x.mask if self.nets.kinds > 1 else x.mask.any(-1, keepdim=True))[:, 1:]
        log_rates = torch.log(self.nets.intensity(found.before[:, :, 1:])) - math.log(self.unit)
        rates = self.nets.intensity(found.between).sum(-1)
        watched = x.times[:, 1:] <= (x.end if end is None else end)[:, None]
        gaps = (x.gaps[:, 1:] / self.unit * watched).T[:, None]
        inner = torch.lerp(rates[:, :-1], rates[:, 1:], 0.5).mean(1)
        return total + (log_rates * happened).sum((2, 3)) - (gaps * inner).sum(0)

    @torch.no_grad()
    def intensity(self, found: Followed) -> Tensor:
        """λ of each kind as it arrives at each time and as it leaves, in units of the data's time.

        Args:
            found: Paths, whose mean is taken.

        Returns:
            Shape (batch, n, 2, kinds).
        """
        assert self.nets.intensity is not None
        value: Tensor = self.nets.intensity(torch.stack((found.before, found.after), 3)).mean(0) / self.unit
        return value

    def bound(self, found: Followed, x: Series, end: Tensor | None = None) -> Tensor:
        """Logarithm of the mean likelihood over paths, shape (batch,); see `log_likelihood`."""
        each = self.log_likelihood(found, x, end)
        return torch.logsumexp(each, 0) - math.log(len(each))

    def simulate(
        self, n: int, duration: float, seed: int = 0, step: float | None = None, at_start: bool | None = None
    ) -> Series:
        """Events that the model expects; see `jump_simulation.simulate`.

        Args:
            n: How many series.
            duration: How long each is watched, in units of a batch's times.
            seed: Seed of all of them.
            step: Longest step between events, likewise; a tenth of the data's median gap where not given.
            at_start: Whether there is an event at time 0, as there is in data that begin with one; by default
                unless the question is when events come.

        Raises:
            UsageError: The model has no intensity, or a number is not positive.
        """
        longest = self.spec.step / 10 if step is None else step
        at_start = not self.of_events if at_start is None else at_start
        return simulate(self.nets, n, duration / self.unit, seed, longest / self.unit, self.unit, at_start)

    # ------------------------------------------------------------------ what is asked

    def _paths(self) -> tuple[int, int | None]:
        """How many paths in the present mode, and their seed."""
        return (self.paths, None) if self.training else (self.num_draws, SEED)

    def read(self, x: Series) -> Said:
        """The state behind the last observation, mean over paths."""
        if self.of_events:
            raise self.task.unanswered()
        found = self.follow(self.watched(x), *self._paths())
        return found.after[:, :, -1].mean(0), [found.stats]

    def forecast(self, x: Series, times: Tensor) -> Said:
        """The mean of the marks that are expected at each time, over paths that jump at what is given."""
        whole, place = with_times(self.watched(x), times)
        found = self.follow(whole, *self._paths())
        return self.expected(found, place)[0].mean(0), [found.stats]

    def expected(self, found: Followed, place: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of marks at chosen observations, each (paths, batch, q, channels)."""
        states = torch.stack([rows(states, place) for states in found.after])
        said: tuple[Tensor, Tensor] = self.nets.marks(states)
        return said

    @property
    def components(self) -> int | None:
        """As many as one asks for; 1 of a class without noise. See `FamilyModule.components`."""
        return None if self.stochastic or isinstance(self.spec.question, Forecast) else 1

    def drawn(self, x: Series, count: int, times: Tensor | None) -> Said:
        """Of single paths, forecasts with the noise of marks; see `SeriesFamily.drawn`."""
        seed, x = int(torch.randint(2**52, ())), self.watched(x)
        if times is None:
            found = self.follow(x, count, seed)
            return self.head(found.after[:, :, -1]), [found.stats] * count
        whole, place = with_times(x, times)
        found = self.follow(whole, count, seed)
        return draw(*self.expected(found, place)), [found.stats] * count

    # ------------------------------------------------------------------ steps

    def step(self, batch: Any, stage: str) -> Outcome:
        """The likelihood bound of a series and of what is asked about it, per value; or the task's loss."""
        x, asked = self.taken(batch)
        query = asked if isinstance(asked, Query) else None
        x = self.watched(x)
        whole, place = (x, None) if query is None else with_times(x, query.times)
        found = self.follow(whole, *self._paths())
        outcome = Outcome({}, len(x), {}, None, asked, [found.stats], x)
        if self.of_events:
            bound = self.bound(found, x)
            outcome.terms, outcome.prediction = {"loss": per_value(-bound, came(x))}, bound.detach()
            if stage != "train":
                outcome.intensity = self.intensity(found)
            return outcome
        if query is None or place is None:
            said = self.head(found.after[:, :, -1].mean(0))
            outcome.terms, outcome.prediction = {"loss": self.task.loss(said, asked)}, said.detach()
            if stage == "train":
                outcome.terms["event_loss"] = -self.joint * per_value(self.bound(found, x), x.mask)
            return outcome
        mean, log_var = self.expected(found, place)
        asked_density = -negative_log_density(query.truth.to(mean), mean, log_var).nan_to_num().sum((2, 3))
        given = self.log_likelihood(found, whole, x.end)
        both = torch.logsumexp(given + asked_density, 0) - math.log(len(given))
        count = x.mask.sum() + query.mask.sum()
        outcome.terms = {"loss": -both.sum() / count.clamp(min=1)}
        nll = torch.logsumexp(given, 0) - torch.logsumexp(given + asked_density, 0)
        outcome.scores = {"nll": (nll.sum() / query.mask.sum().clamp(min=1)).detach()}
        outcome.prediction, outcome.target, outcome.times = mean.mean(0).detach(), query.truth, query.times
        if stage != "train":
            outcome.draws = draw(mean.detach(), log_var.detach())
        return outcome


def draw(mean: Tensor, log_var: Tensor) -> Tensor:
    """One draw of each Gaussian."""
    return mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)


def per_value(total: Tensor, mask: Tensor) -> Tensor:
    """A sum over series, by the number of values observed."""
    return total.sum() / mask.sum().clamp(min=1)
