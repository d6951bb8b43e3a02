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
from integrand.spec import Forecast, Spec

from .asked_times import with_times
from .backward_reader import BackwardReader
from .base import Said, SeriesFamily
from .lockstep_sde import Gradient, PathNormals, solve_lockstep, solve_lockstep_logqp
from .perceptron import perceptron

LEAST_NOISE = 1e-2
"""In units of a batch: without a bound the density of data without noise has none either."""
SEED = 0
"""Of the draws of a forecast, the same for every model, so that they differ in their weights alone."""


class ComponentNet(nn.Module):
    """g_i(z_i) in (0, 1): a net of one hidden layer for each component, all at once.

    Args:
        size: Components.
        hidden: Width of each hidden layer.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        # as nn.Linear would start them, with one input and with `hidden`
        self.first = nn.Parameter(2 * torch.rand(2, size, hidden) - 1)
        self.second = nn.Parameter((2 * torch.rand(size, hidden) - 1) / math.sqrt(hidden))
        self.offset = nn.Parameter((2 * torch.rand(size) - 1) / math.sqrt(hidden))

    def forward(self, z: Tensor) -> Tensor:
        """Shape of z, (batch, size)."""
        inner = F.softplus(torch.addcmul(self.first[1], self.first[0], z.unsqueeze(-1)))
        return torch.sigmoid((inner * self.second).sum(dim=-1) + self.offset)


class LatentNets(nn.Module):
    """Prior drift h, diffusion g, and the control u of the posterior, whose drift is f = h + g u.

    In this form f − h lies in the range of g. u starts near 0, where the posterior is the prior.

    Args:
        size: Components of z.
        context: Length of what is known of the rest of a series.
        hidden: Width of hidden layers.
        depth: Number of hidden layers of h and u.
        tells_time: Whether h and u are told the time.
    """

    def __init__(self, size: int, context: int, hidden: int, depth: int, tells_time: bool) -> None:
        super().__init__()
        self.tells_time = tells_time
        self.prior = perceptron(size + int(tells_time), hidden, size, depth)
        self.control = perceptron(size + int(tells_time) + context, hidden, size, depth)
        self.diffusion = ComponentNet(size, hidden)
        with torch.no_grad():
            for parameter in self.control[-1].parameters():
                parameter.mul_(0.01)

    def told(self, t: Tensor, z: Tensor) -> Tensor:
        """What the drifts are told of time and state."""
        return torch.cat((z, t), dim=1) if self.tells_time else z


class Posterior(nn.Module):
    """The equation of one batch, led by what is known of the observations ahead; the prior behind the last.

    Args:
        nets: Its coefficients.
        known: What is known of the rest at each knot, shape (batch, n, context).
        ahead: How many observations that are, shape (batch, n).
    """

    def __init__(self, nets: LatentNets, known: Tensor, ahead: Tensor) -> None:
        super().__init__()
        self.nets = nets
        self.known, self.led = known.unbind(1), (ahead > 0).to(known.dtype).unsqueeze(-1).unbind(1)
        self._shared: tuple[Tensor, Tensor, Tensor] | None = None
        self._interval = 0

    def enter(self, interval: int, place: float) -> None:
        """See `KnotSDE`."""
        self._interval = interval

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Posterior drift."""
        told, nets = self.nets.told(t, y), self.nets
        h, g = nets.prior(told), nets.diffusion(y)
        self._shared = (y, h, g)
        # on the way to a knot what is known there and behind it is ahead
        behind = self._interval + 1
        u = nets.control(torch.cat((told, self.known[behind]), dim=1)) * self.led[behind]
        return torch.addcmul(h, g, u)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, that of the drift's evaluation where there was one at this state."""
        shared = self._shared
        value: Tensor = shared[2] if shared is not None and shared[0] is y else self.nets.diffusion(y)
        return value

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        """Prior drift, likewise."""
        shared = self._shared
        known = shared is not None and shared[0] is y
        value: Tensor = shared[1] if shared is not None and known else self.nets.prior(self.nets.told(t, y))
        return value


class LatentSDE(SeriesFamily):
    """A latent state that follows a stochastic equation, and an encoder that leads it through what was seen.

    Training raises the evidence lower bound of all observations, those to be forecast included: the
    log-likelihood of what the posterior's path decodes to, minus its divergence from the prior at the start
    and along the path; sums over observations, channels and components, so that it is a bound. A forecast
    draws paths: led by the posterior through what is given, of the prior behind it; its value is their mean.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Components of the latent state.
        context: Length of the encoder's state.
        hidden: Width of the hidden layers of drifts and diffusion.
        depth: Number of hidden layers of the drifts.
        noise: Standard deviation of the observations, in units of a batch; learned for each channel, from 0.1
            on, where not given.
        duration: What the longest series lasts, its forecast included, in units of the equation.
        steps: Steps of the Euler–Maruyama method between two times.
        kl_weight: Weight of the divergence in training; 1 is the bound.
        anneal: Training batches over which that weight grows to its value.
        draws: Paths of a forecast.
        gradient: `backprop` keeps the graph of every step, `checkpoint` one state for each step.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: An option is out of its domain.
    """

    family = "latent-sde"
    title = "Latent SDE"
    group = "series"
    answers = (Forecast,)
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
        draws: int = 16,
        gradient: Gradient = "backprop",
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        if min(draws, steps) < 1 or kl_weight < 0 or anneal < 0 or not min(duration, noise or 1.0) > 0:
            raise UsageError(
                f"draws={draws}, steps={steps}, kl_weight={kl_weight}, anneal={anneal}, duration={duration}, "
                f"noise={noise}",
                "give positive numbers; model.kl_weight and model.anneal may be 0",
            )
        question = self.spec.question
        assert isinstance(question, Forecast)
        self.unit = self.spec.step * (self.spec.length + question.horizon - 1) / duration
        self.reader = BackwardReader(self.spec.channels, self.spec.static, context, self.unit)
        self.nets = LatentNets(channels, context, hidden, depth, not self.spec.autonomous)
        self.start = nn.Linear(context, 2 * channels)
        self.prior_mean = nn.Parameter(torch.zeros(channels))
        self.prior_log_std = nn.Parameter(torch.zeros(channels))
        self.log_noise = nn.Parameter(
            torch.full((self.spec.channels,), math.log(noise or 0.1)), requires_grad=noise is None
        )
        self.least_noise = LEAST_NOISE if noise is None else 0.0
        self.steps, self.kl_weight, self.anneal, self.draws = steps, kl_weight, anneal, draws
        self.gradient: Gradient = gradient

    @property
    def noise(self) -> Tensor:
        """Standard deviation of the observations, shape (channels,)."""
        return self.log_noise.exp() + self.least_noise

    # ------------------------------------------------------------------ the model

    def posterior(self, x: Series) -> tuple[Posterior, Tensor, Tensor, Tensor]:
        """Its equation, mean and standard deviation of z₀, and the knots in units of the equation."""
        known, ahead = self.reader(x)
        mean, raw = self.start(known[:, 0]).chunk(2, dim=-1)
        times = x.times - x.times[:, :1] if self.spec.autonomous else x.times
        return Posterior(self.nets, known, ahead), mean, F.softplus(raw) + 1e-4, times / self.unit

    def bound(self, x: Series) -> tuple[dict[str, Tensor], Tensor, Solution]:
        """Log-likelihood and divergence by name, each (batch,), what one path says, and its solve.

        Args:
            x: All that was observed.
        """
        equation, mean, std, knots = self.posterior(x)
        z0 = mean + std * torch.randn_like(std)
        solution, path = solve_lockstep_logqp(equation, knots, z0, self.steps, self.gradient)
        said = self.head(solution.ys).transpose(0, 1)
        error = (said - x.values) / self.noise
        density = -0.5 * (error.square() + math.log(2 * math.pi)) - self.noise.log()
        ratio = 2 * (std.log() - self.prior_log_std)
        moved = ((mean - self.prior_mean) * torch.exp(-self.prior_log_std)).square()
        first = 0.5 * (ratio.exp() + moved - 1 - ratio).sum(dim=-1)
        found = {"log_likelihood": torch.where(x.mask, density, 0.0).sum((1, 2)), "kl": first + path}
        return found, said, solution

    def draw(self, x: Series, times: Tensor) -> tuple[Tensor, Solution]:
        """What paths say at the times asked for, without observation noise: (draws, batch, n, channels).

        The paths of all series are driven by the same noise; see `PathNormals`.
        """
        merged, index = with_times(x, times)
        equation, mean, std, knots = self.posterior(merged)
        batch, size = mean.shape
        equation.known = tuple(k.repeat(self.draws, 1) for k in equation.known)
        equation.led = tuple(k.repeat(self.draws, 1) for k in equation.led)
        first, _ = PathNormals(self.draws, batch, mean, SEED).normals(0)
        z0 = mean.repeat(self.draws, 1) + std.repeat(self.draws, 1) * first
        noise = PathNormals(self.draws, batch, z0, SEED + 1)
        solution = solve_lockstep(equation, knots.repeat(self.draws, 1), z0, self.steps, self.gradient, noise)
        at = index.T.unsqueeze(-1).repeat(1, self.draws, size)
        said: Tensor = self.head(solution.ys.gather(0, at))
        return said.view(len(at), self.draws, batch, -1).permute(1, 2, 0, 3), solution

    def forecast(self, x: Series, times: Tensor) -> Said:
        """Mean of the draws; see `SeriesFamily.forecast`."""
        said, solution = self.draw(x, times)
        return said.mean(dim=0), [solution.stats]

    # ------------------------------------------------------------------ steps

    def step(self, batch: Any, stage: str) -> Outcome:
        """−ELBO. Predictions: in training what its path says, else a forecast from what was given."""
        x, query = self.taken(batch)
        whole, index = together(x, query)
        found, said, solution = self.bound(whole)
        bound, kl = (found["log_likelihood"] - found["kl"]).mean(), found["kl"].mean()
        loss = -bound
        if stage == "train":
            loss = loss + (self._weight() - 1) * kl
        scores = {"elbo": bound.detach(), "kl": kl.detach()}
        said = said.detach().gather(1, index.unsqueeze(-1).expand_as(query.values))
        outcome = Outcome({"loss": loss}, len(x), scores, said, query.truth, [solution.stats], x, query.times)
        if stage != "train":
            with torch.no_grad():
                draws, drawn = self.draw(x, query.times)
            outcome.solves = [solution.stats, drawn.stats]
            outcome.prediction = draws.mean(dim=0)
            outcome.draws = draws + self.noise.detach() * torch.randn_like(draws)
        return outcome

    def _weight(self) -> float:
        """Weight of the divergence at this batch of the training."""
        if self.anneal == 0 or self._trainer is None:
            return self.kl_weight
        return self.kl_weight * min(1.0, self.trainer.global_step / self.anneal)

    def residuals(self) -> list[nn.Module]:
        """The control of the posterior, evaluated once with its drift."""
        return [self.nets.control]


def together(x: Series, query: Query) -> tuple[Series, Tensor]:
    """A series with what came true at the times asked for, and where these are found in it."""
    merged, index = with_times(x, query.times)
    at = index.unsqueeze(-1).expand_as(query.values)
    seen = torch.zeros_like(merged.mask, dtype=torch.int64).scatter_add(1, at, query.mask.long())
    total = torch.zeros_like(merged.values).scatter_add(1, at, (query.values * query.mask).to(x.values))
    merged.values = torch.where(seen > 0, total / seen.clamp_min(1), merged.values)
    merged.mask = merged.mask | (seen > 0)
    return merged, index
