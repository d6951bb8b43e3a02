"""Latent stochastic differential equation (Li et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import Solution
from integrand.spec import Density, Forecast, Spec
from integrand.tasks.path_generation import PathGeneration

from .asked_times import with_times
from .backward_reader import BackwardReader
from .base import Said, SeriesFamily
from .latent_equations import LatentNets, Posterior, Prior
from .lockstep_sde import Gradient, PathNormals, solve_lockstep, solve_lockstep_logqp, solve_lockstep_logratio
from .path_grid import on_grid

LEAST_NOISE = 1e-2
"""In units of a batch: without a bound the density of data without noise has none either."""
SEED = 0
"""Of the draws of a forecast, the same for every model, so that they differ in their weights alone."""


class LatentSDE(SeriesFamily):
    """A latent state that follows a stochastic equation, and an encoder that leads it through what was seen.

    Training raises the evidence lower bound of all observations, those to be forecast included: the
    log-likelihood of what the posterior's path decodes to, minus its divergence from the prior at the start
    and along the path; sums over observations, channels and components, so that it is a bound. A forecast
    draws paths: led by the posterior through what is given, of the prior behind it; its value is their mean.
    Where the data set asks which paths there are, evaluation compares paths of the prior with data, noise of
    the observations included.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Components of the latent state.
        context: Length of the encoder's state.
        hidden: Width of the hidden layers of drifts and diffusion.
        depth: Number of hidden layers of the drifts.
        noise: Standard deviation of the observations, in units of a batch; learned for each channel, from 0.1
            on, where not given.
        duration: What the longest series lasts, its forecast included, in units of the equation.
        steps: Steps of the Euler–Maruyama method between two times. The noise of the last one is not led by
            what comes: g² h should be small beside the variance of the observations' noise, or the bound is
            loose and prefers too little diffusion.
        kl_weight: Weight of the divergence in training; 1 is the bound.
        anneal: Training batches over which that weight grows to its value.
        samples: Paths whose mean weight makes the bound (Burda et al. 2016); 1 is the evidence lower bound.
            More are tighter, which coarse steps need.
        draws: Paths of a forecast.
        gradient: `backprop` keeps the graph of every step, `checkpoint` one state for each step.
        sample_noise: Whether sampled paths hold the noise of observations; they should not where the paths of
            evaluation are seen without it, as those of generated systems are.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: An option is out of its domain.
    """

    family = "latent-sde"
    title = "Latent SDE"
    group = "series"
    answers = (Forecast, Density)
    equation = "dz = h(z; θ) dt + g(z; θ) dW, q: h + g u(z, x), max E log p(x | z) − KL(z₀) − ½ E∫|u|² dt"
    reference = "Li et al. 2020, Scalable Gradients for Stochastic Differential Equations, eq. 10"
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 8,
        context: int = 32,
        hidden: int = 32,
        depth: int = 2,
        noise: float | None = None,
        duration: float = 2.0,
        steps: int = 2,
        kl_weight: float = 1.0,
        anneal: int = 0,
        samples: int = 1,
        draws: int = 16,
        gradient: Gradient = "backprop",
        sample_noise: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        if min(draws, steps) < 1 or kl_weight < 0 or anneal < 0 or not min(duration, noise or 1.0) > 0:
            raise UsageError(
                f"draws={draws}, steps={steps}, kl_weight={kl_weight}, anneal={anneal}, duration={duration}, "
                f"noise={noise}",
                "give positive numbers; model.kl_weight and model.anneal may be 0",
            )
        if samples < 1 or (samples > 1 and (kl_weight != 1 or anneal or gradient != "backprop")):
            raise UsageError(
                f"samples={samples} with kl_weight={kl_weight}, anneal={anneal}, gradient={gradient}",
                "set model.samples to 1 or more, and with more leave the others out",
            )
        question = self.spec.question
        last = self.spec.length - 1 + (question.horizon if isinstance(question, Forecast) else 0)
        self.unit = self.spec.step * max(last, 1) / duration
        self.reader = BackwardReader(self.spec.channels, self.spec.static, context, self.unit)
        gap = self.spec.step / self.unit
        self.nets = LatentNets(channels, context, hidden, depth, not self.spec.autonomous, gap)
        self.start = nn.Linear(context, 2 * channels)
        self.prior_mean = nn.Parameter(torch.zeros(channels))
        self.prior_log_std = nn.Parameter(torch.zeros(channels))
        self.log_noise = nn.Parameter(
            torch.full((self.spec.channels,), math.log(noise or 0.1)), requires_grad=noise is None
        )
        self.least_noise = LEAST_NOISE if noise is None else 0.0
        self.steps, self.kl_weight, self.anneal, self.num_draws = steps, kl_weight, anneal, draws
        self.gradient: Gradient = gradient
        self.samples = samples
        self.sample_noise = sample_noise

    def make_head(self, width: int) -> nn.Module:
        """The decoder, linear."""
        return nn.Linear(width, self.spec.channels)

    @property
    def noise(self) -> Tensor:
        """Standard deviation of the observations, shape (channels,)."""
        return self.log_noise.exp() + self.least_noise

    # ------------------------------------------------------------------ the model

    def posterior(self, x: Series) -> tuple[Posterior, Tensor, Tensor, Tensor]:
        """Its equation, mean and standard deviation of z₀, and the knots in units of the equation."""
        known, ahead = self.reader(x)
        mean, raw = self.start(known[:, 0]).chunk(2, dim=-1)
        knots = (x.times - x.times[:, :1] if self.spec.autonomous else x.times) / self.unit
        return Posterior(self.nets, known, ahead, knots), mean, F.softplus(raw) + 1e-4, knots

    def bound(self, x: Series) -> tuple[dict[str, Tensor], Tensor, Solution]:
        """Log-likelihood and divergence by name, each (batch,), what one path says, and its solve.

        Args:
            x: All that was observed.
        """
        equation, mean, std, knots = self.posterior(x)
        if self.samples > 1:
            return self._weighed(x, equation, mean, std, knots)
        z0 = mean + std * torch.randn_like(std)
        solution, path = solve_lockstep_logqp(equation, knots, z0, self.steps, self.gradient)
        said = self.head(solution.ys).transpose(0, 1)
        ratio = 2 * (std.log() - self.prior_log_std)
        moved = ((mean - self.prior_mean) * torch.exp(-self.prior_log_std)).square()
        first = 0.5 * (ratio.exp() + moved - 1 - ratio).sum(dim=-1)
        return {"log_likelihood": self._density(said, x), "kl": first + path}, said, solution

    def _density(self, said: Tensor, x: Series) -> Tensor:
        """Log-likelihood of each series, shape (…, batch), by what paths say, (…, batch, n, channels)."""
        error = (said - x.values) / self.noise
        density = -0.5 * (error.square() + math.log(2 * math.pi)) - self.noise.log()
        return torch.where(x.mask, density, 0.0).sum((-1, -2))

    def _weighed(
        self, x: Series, equation: Posterior, mean: Tensor, std: Tensor, knots: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Solution]:
        """`bound` by the mean weight of several paths; `kl` is what it lies below their likelihood."""
        count = self.samples
        equation.repeat(count)
        mean, std = mean.repeat(count, 1), std.repeat(count, 1)
        drawn = torch.randn_like(std)
        z0 = mean + std * drawn
        solution, ratio = solve_lockstep_logratio(equation, knots.repeat(count, 1), z0, self.steps)
        said = self.head(solution.ys).transpose(0, 1).view(count, len(x), *x.values.shape[1:])
        apart = (z0 - self.prior_mean) * torch.exp(-self.prior_log_std)
        first = 0.5 * (apart.square() - drawn.square()) + self.prior_log_std - std.log()
        likely = self._density(said, x)
        weights = likely - (ratio + first.sum(dim=-1)).view(count, -1)
        bound = torch.logsumexp(weights, dim=0) - math.log(count)
        likely = likely.mean(dim=0)
        return {"log_likelihood": likely, "kl": likely - bound}, said[0], solution

    def draw(
        self, x: Series, times: Tensor, count: int | None = None, seed: int | None = SEED
    ) -> tuple[Tensor, Solution]:
        """What paths say at the times asked for, without observation noise: (draws, batch, n, channels).

        The paths of all series are driven by the same noise; see `PathNormals`.

        Args:
            x: What is given.
            times: Shape (batch, n), float64.
            count: How many; by default `draws`.
            seed: Seed of the paths; drawn from torch's generator where None.
        """
        count = count or self.num_draws
        seed = int(torch.randint(2**52, ())) if seed is None else seed
        merged, index = with_times(x, times)
        equation, mean, std, knots = self.posterior(merged)
        batch, size = mean.shape
        equation.repeat(count)
        first, _ = PathNormals(count, batch, mean, seed).normals(0)
        z0 = mean.repeat(count, 1) + std.repeat(count, 1) * first
        noise = PathNormals(count, batch, z0, seed + 1)
        solution = solve_lockstep(equation, knots.repeat(count, 1), z0, self.steps, self.gradient, noise)
        at = index.T.unsqueeze(-1).repeat(1, count, size)
        said: Tensor = self.head(solution.ys.gather(0, at))
        return said.view(len(at), count, batch, -1).permute(1, 2, 0, 3), solution

    @property
    def components(self) -> int | None:
        """As many as one asks for; see `FamilyModule.components`."""
        return None

    def drawn(self, x: Series, count: int, times: Tensor | None) -> Said:
        """Of the posterior's paths; see `SeriesFamily.drawn`."""
        if times is None:
            raise self.task.unanswered()
        said, solution = self.draw(x, times, count, seed=None)
        return said + self.noise * torch.randn(said.shape).to(said), [solution.stats] * count

    def forecast(self, x: Series, times: Tensor) -> Said:
        """Mean of the draws; see `SeriesFamily.forecast`."""
        said, solution = self.draw(x, times)
        return said.mean(dim=0), [solution.stats]

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Observations of paths of the prior, shape (n, length, channels), in the units of a batch.

        Args:
            n: How many.
            seed: Seed of all of them.
        """
        return self.draw_prior(n, seed)[0]

    @torch.no_grad()
    def draw_prior(self, n: int, seed: int) -> tuple[Tensor, Solution]:
        """What `sample` returns, and the solve."""
        assert isinstance(self.task, PathGeneration)
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(n, len(self.prior_mean), generator=generator).to(self.prior_mean)
        z0 = self.prior_mean + self.prior_log_std.exp() * start
        knots = (self.task.times / self.unit).to(z0.device).expand(n, -1)
        noise = PathNormals(n, 1, z0, seed + 1)
        solution = solve_lockstep(Prior(self.nets), knots, z0, self.steps, self.gradient, noise)
        said: Tensor = self.head(solution.ys).transpose(0, 1)
        if self.sample_noise:
            said = said + self.noise * torch.randn(said.shape, generator=generator).to(said)
        return said, solution

    # ------------------------------------------------------------------ steps

    def step(self, batch: Any, stage: str) -> Outcome:
        """−ELBO. In training its path is the prediction, else a forecast, or paths of the prior."""
        if isinstance(self.task, PathGeneration):
            return self._of_paths(batch, stage)
        x, query = self.taken(batch)
        whole, index = together(x, query)
        terms, scores, said, solution = self._bounded(whole, stage)
        said = said.detach().gather(1, index.unsqueeze(-1).expand_as(query.values))
        outcome = Outcome(terms, len(x), scores, said, query.truth, [solution.stats], x, query.times)
        if stage != "train":
            with torch.no_grad():
                draws, drawn = self.draw(x, query.times)
            outcome.solves = [solution.stats, drawn.stats]
            outcome.prediction = draws.mean(dim=0)
            outcome.draws = draws + self.noise.detach() * torch.randn_like(draws)
        return outcome

    def _bounded(
        self, x: Series, stage: str
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Solution]:
        """Terms of the loss, scores, what the path says, and its solve."""
        found, said, solution = self.bound(x)
        bound, kl = (found["log_likelihood"] - found["kl"]).mean(), found["kl"].mean()
        loss = -bound
        if stage == "train":
            loss = loss + (self._weight() - 1) * kl
        return {"loss": loss}, {"elbo": bound.detach(), "kl": kl.detach()}, said, solution

    def _of_paths(self, batch: Any, stage: str) -> Outcome:
        """A step where paths are asked for: in evaluation as many of the prior as the batch holds."""
        x, _ = self.taken(batch)
        terms, scores, _, solution = self._bounded(x, stage)
        outcome = Outcome(terms, len(x), scores, solves=[solution.stats], inputs=x)
        if stage != "train":
            assert isinstance(self.task, PathGeneration)
            outcome.prediction, drawn = self.draw_prior(len(x), SEED + self._number)
            outcome.target, self._number = on_grid(x, self.task.times), self._number + 1
            outcome.solves = [solution.stats, drawn.stats]
        return outcome

    _number = 0

    def on_validation_epoch_start(self) -> None:
        """Begin with the first paths."""
        self._number = 0

    def on_test_epoch_start(self) -> None:
        """Begin with the first paths."""
        self._number = 0

    def _weight(self) -> float:
        """Weight of the divergence at this batch of the training."""
        if self.anneal == 0 or self._trainer is None:
            return self.kl_weight
        return self.kl_weight * min(1.0, self.trainer.global_step / self.anneal)

    def residuals(self) -> list[nn.Module]:
        """The coefficients of the posterior, evaluated once with its drift."""
        return [self.nets]


def together(x: Series, query: Query) -> tuple[Series, Tensor]:
    """A series with what came true at the times asked for, and where these are found in it."""
    merged, index = with_times(x, query.times)
    at = index.unsqueeze(-1).expand_as(query.values)
    seen = torch.zeros_like(merged.mask, dtype=torch.int64).scatter_add(1, at, query.mask.long())
    total = torch.zeros_like(merged.values).scatter_add(1, at, (query.values * query.mask).to(x.values))
    merged.values = torch.where(seen > 0, total / seen.clamp_min(1), merged.values)
    merged.mask = merged.mask | (seen > 0)
    return merged, index
