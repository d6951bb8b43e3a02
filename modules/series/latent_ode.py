"""Latent ODE: a variational autoencoder whose latent state follows an ODE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import Dopri5, ODESolver, RungeKutta, SolveStats
from integrand.spec import SeriesSpec, Spec

from ..bench.vector import VectorField
from ..defaults import default
from .base import Said
from .observations import reverse, rows, told, told_size, truth
from .observing import ObservingFamily
from .perceptron import perceptron
from .recurrence import GAPS_PER_UNIT, LOCKSTEP, ODERecurrence
from .units import time_unit

Encoding = Literal["ode_rnn", "gru"]
DECODER: ODESolver = default(Dopri5, rtol=1e-3, atol=1e-4, per_sample=True)
"""The paper's tolerances; every series has steps of its own, so that none depends on its batch mates."""
LEAST_NOISE = 1e-2
"""In units of a batch: without a bound the density of data without noise has none either."""
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Posterior:
    """q(z₀ | series) = N(mean, diag std²), and the accounts of what found it.

    Args:
        mean: Shape (batch, latent).
        std: Likewise, positive.
        solves: The accounts.
    """

    mean: Tensor
    std: Tensor
    solves: list[SolveStats]

    def draw(self, draws: int) -> Tensor:
        """Draws of z₀ with their graph, shape (draws, batch, latent)."""
        return self.mean + self.std * torch.randn(draws, *self.mean.shape).to(self.mean)

    def divergence(self) -> Tensor:
        """KL(q ‖ N(0, 1)), shape (batch,)."""
        variance = self.std.square()
        return 0.5 * (self.mean.square() + variance - variance.log() - 1).sum(-1)

    def log_ratio(self, z: Tensor) -> Tensor:
        """Log p(z) − log q(z), shape (draws, batch)."""
        own = ((z - self.mean) / self.std).square() + 2 * self.std.log()
        return 0.5 * (own - z.square()).sum(-1)


class Encoder(nn.Module):
    """Reads a series from its end to its beginning, where the posterior of z₀ is.

    Args:
        spec: Channels and static numbers, and whether time enters.
        kind: Whether the state follows an ODE between observations, or a GRU is told the gaps.
        width: Length of its state.
        hidden: Width of hidden layers.
        latent: Length of z₀.
        unit: Unit of time.
        solver: What integrates the ODE.
    """

    def __init__(
        self,
        spec: SeriesSpec,
        kind: Encoding,
        width: int,
        hidden: int,
        latent: int,
        unit: float,
        solver: RungeKutta,
    ) -> None:
        super().__init__()
        self.unit, self.solver = unit, solver
        self.recurrence: ODERecurrence | nn.GRU
        if kind == "gru":
            self.recurrence = nn.GRU(told_size(spec), width, batch_first=True)
        else:
            self.recurrence = ODERecurrence(spec, width, hidden, unit)
        self.posterior = perceptron(width, hidden, 2 * latent, 1)

    def forward(self, x: Series) -> Posterior:
        """The posterior of each series."""
        back = reverse(x)
        solves = []
        if isinstance(self.recurrence, nn.GRU):
            states = self.recurrence(told(back, self.unit))[0]
            state = rows(states, x.lengths[:, None] - 1)[:, 0]
        else:
            found = self.recurrence(back, self.solver)
            state, solves = found.after[-1], [found.stats]
        mean, raw = self.posterior(state).chunk(2, -1)
        return Posterior(mean, F.softplus(raw) + 1e-4, solves)


class LatentODE(ObservingFamily):
    """z₀ is drawn from what an encoder read, follows an ODE, and is decoded at every time asked for.

    Training raises the evidence lower bound of all observations, those asked for included, given z₀ from
    those that were given: sums over observations, channels and latent dimensions, so that it is a bound.
    Answers are those of the posterior's mean; draws hold the noise of the observations too.

    Args:
        spec: What the data set publishes; the command line fills it in.
        latent: Length of z.
        channels: Length of the encoder's state.
        hidden: Width of hidden layers.
        encoder: `ode_rnn`, or `gru` for one that is told the gaps instead: cheaper.
        noise: Standard deviation of the observations, in units of a batch; learned for each channel where not
            given.
        kl_weight: Weight of the divergence of q(z₀) from its prior in training; 1 is the bound.
        joint: Weight of −ELBO for each observed value, beside the loss of classes or targets.
        draws: Draws of z₀ in validation and test.
        unit: Unit of time of the fields; five median gaps of the data where not given.
        solver: What integrates the latent state.
        encoder_solver: An explicit Runge–Kutta method; its steps are counted in each gap.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: An option is out of its domain.
    """

    family = "latent-ode"
    title = "Latent ODE"
    group = "series"
    equation = "z₀ ~ q(z₀ | x), ż = f(z; θ), x_i ~ N(g(z(t_i)), σ²), max E log p(x | z₀) − KL(q ‖ N(0, 1))"
    reference = (
        "Chen et al. 2018, Neural Ordinary Differential Equations, eqs. 11–13; Rubanova et al. 2019, "
        "Latent ODEs for Irregularly-Sampled Time Series"
    )
    uses_solver = True
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        latent: int = 8,
        channels: int = 32,
        hidden: int = 32,
        encoder: Encoding = "ode_rnn",
        noise: float | None = None,
        kl_weight: float = 1.0,
        joint: float = 0.01,
        draws: int = 16,
        unit: float | None = None,
        solver: ODESolver = DECODER,
        encoder_solver: RungeKutta = LOCKSTEP,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, latent, **kwargs)
        if encoder not in ("ode_rnn", "gru"):
            raise UsageError(f"unknown encoder {encoder!r}", "set model.encoder to ode_rnn or gru")
        if draws < 1 or kl_weight < 0 or not joint > 0 or (noise is not None and not noise > 0):
            raise UsageError(
                f"draws={draws}, kl_weight={kl_weight}, joint={joint}, noise={noise}",
                "give positive numbers; without a decoder the encoder is ODERNN",
            )
        self.unit = time_unit(GAPS_PER_UNIT * self.spec.step, unit)
        self.encoder = Encoder(self.spec, encoder, channels, hidden, latent, self.unit, encoder_solver)
        self.field: nn.Module = VectorField(latent, time_dependent=not self.spec.autonomous, hidden=hidden)
        self.decoder = perceptron(latent, hidden, self.spec.channels, 1)
        self.log_noise = nn.Parameter(
            torch.full((self.spec.channels,), math.log(noise or 0.3)), requires_grad=noise is None
        )
        self.least_noise = LEAST_NOISE if noise is None else 0.0
        self.solver, self.kl_weight, self.joint, self.num_draws = solver, kl_weight, joint, draws

    # ------------------------------------------------------------------ the model

    def decode(self, z0: Tensor, start: Tensor, times: Tensor) -> tuple[Tensor, SolveStats]:
        """Means of the observations at any times of each series.

        Args:
            z0: State at the start, shape (draws, batch, latent).
            start: Shape (batch,), float64.
            times: Shape (batch, n), float64, in any order, none before the start.

        Returns:
            Shape (draws, batch, n, channels), and the account of the solve.
        """
        order = times.argsort(dim=1, stable=True)
        grid = torch.cat((start[:, None], times.gather(1, order)), 1) / self.unit
        draws = len(z0)
        found = self.solver.solve(self.field, z0.flatten(0, 1), grid.repeat(draws, 1))
        states = found.ys[1:].transpose(0, 1)
        placed = rows(states, order.argsort(dim=1).repeat(draws, 1))
        said: Tensor = self.decoder(placed)
        return said.view(draws, -1, *said.shape[1:]), found.stats

    def log_likelihood(self, said: Tensor, observed: Tensor) -> Tensor:
        """Log p(x | z₀), summed over what was observed.

        Args:
            said: Means, shape (draws, batch, n, channels).
            observed: Shape (batch, n, channels), NaN where nothing was.

        Returns:
            Shape (draws, batch).
        """
        known = ~observed.isnan()
        error = (said - observed.nan_to_num()) / self.noise
        density = -0.5 * (error.square() + LOG_2PI) - self.noise.log()
        return torch.where(known, density, 0.0).sum((-2, -1))

    @property
    def noise(self) -> Tensor:
        """Standard deviation of the observations, shape (channels,)."""
        return self.log_noise.exp() + self.least_noise

    def read(self, x: Series) -> Said:
        """The mean of z₀."""
        found = self.encoder(x)
        return found.mean, found.solves

    def forecast(self, x: Series, times: Tensor) -> Said:
        """What the mean of z₀ decodes to."""
        found = self.encoder(x)
        said, stats = self.decode(found.mean[None], x.times[:, 0], times)
        return said[0], [*found.solves, stats]

    @property
    def components(self) -> int | None:
        """As many as one asks for; see `FamilyModule.components`."""
        return None

    def drawn(self, x: Series, count: int, times: Tensor | None) -> Said:
        """Of z₀ from the posterior; see `SeriesFamily.drawn`."""
        found = self.encoder(x)
        z0 = found.draw(count)
        if times is None:
            return self.head(z0), found.solves
        means, stats = self.decode(z0, x.times[:, 0], times)
        noise = self.noise * torch.randn(means.shape).to(means)
        return means + noise, [*found.solves, *[stats] * count]

    # ------------------------------------------------------------------ steps

    def step(self, batch: Any, stage: str) -> Outcome:
        """−ELBO for forecasts; the task's loss and a share of −ELBO for classes and targets."""
        x, asked = self.taken(batch)
        query = asked if isinstance(asked, Query) else None
        posterior = self.encoder(x)
        draws = posterior.draw(1 if stage == "train" else self.num_draws)
        # an evaluation answers with the mean: it is decoded in the same solve
        z0 = draws if stage == "train" else torch.cat((posterior.mean[None], draws))
        observed, times = _together(x, query)
        means, stats = self.decode(z0, x.times[:, 0], times)
        bounds = self.bounds(means[-len(draws) :], draws, posterior, observed)
        loss = -bounds["elbo"]
        if stage == "train":
            loss = loss + (self.kl_weight - 1) * bounds["kl"]
            del bounds["iwae"]  # of one draw
        scores = {name: value.detach() for name, value in bounds.items()}
        outcome = Outcome({"loss": loss}, len(x), scores, None, asked, [*posterior.solves, stats], x)
        if query is None:
            said = self.head(z0[0])
            outcome.terms, outcome.prediction = {"loss": self.task.loss(said, asked)}, said.detach()
            if stage == "train":
                share = self.joint * len(x) / (~observed.isnan()).sum().clamp(min=1)
                outcome.terms["elbo_loss"] = share * loss
        else:
            self._show(outcome, means[:, :, x.times.shape[1] :].detach(), query)
        return outcome

    def bounds(self, means: Tensor, z0: Tensor, posterior: Posterior, observed: Tensor) -> dict[str, Tensor]:
        """`elbo`, `kl` and `iwae`, means over the batch.

        Args:
            means: What draws of z₀ decode to, shape (draws, batch, n, channels).
            z0: The draws, shape (draws, batch, latent).
            posterior: What they were drawn from.
            observed: Shape (batch, n, channels), NaN where nothing was.
        """
        likelihood, divergence = self.log_likelihood(means, observed), posterior.divergence()
        weighted = importance_weighted(likelihood + posterior.log_ratio(z0))
        return {
            "elbo": (likelihood.mean(0) - divergence).mean(),
            "kl": divergence.mean(),
            "iwae": weighted.mean(),
        }

    def _show(self, outcome: Outcome, means: Tensor, query: Query) -> None:
        """What was answered at the times asked for, and draws of observations there."""
        outcome.prediction, outcome.target, outcome.times = means[0], query.truth, query.times
        if len(means) > 1:
            outcome.draws = means[1:] + self.noise.detach() * torch.randn_like(means[1:])


def _together(x: Series, query: Query | None) -> tuple[Tensor, Tensor]:
    """All that was observed, NaN where nothing was, (batch, n, channels), and the times of it, (batch, n)."""
    if query is None:
        return truth(x), x.times
    observed = torch.cat((truth(x), query.truth.to(x.values)), 1)
    return observed, torch.cat((x.times, query.times), 1)


def importance_weighted(log_weights: Tensor) -> Tensor:
    """Log 1/K Σ exp(log w_k), a tighter bound than their mean (Burda et al. 2016, eq. 8); shape (batch,).

    Args:
        log_weights: log p(x | z_k) + log p(z_k) − log q(z_k), shape (K, batch).
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))
