"""Flow matching along a chosen probability path."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.diffusion import (
    Denoiser,
    FlowPrediction,
    IncompatibleError,
    LinearFlow,
    Process,
    ShiftedGrid,
    Trace,
)
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.solvers import ODESolver, SolveStats
from integrand.spec import Spec

from .backbones import TimeNet
from .flow import FlowModule
from .flow_times import FlowTimes
from .paths import IndependentCFM, Path
from .pooled import PooledPairs
from .sampling import Sampling, draw_samples
from .tested_likelihood import likelihood_limit, tested_likelihood


class FlowMatching(FlowModule):
    """A flow whose velocity is regressed on that of a path between noise and data; training solves no ODE.

    Minimises E‖f(t, x_t) − u_t‖² per dimension. The minimiser carries N(0, I) to the data, whatever the path;
    paths differ in how straight the flow is, and so in the evaluations that sampling needs.

    Args:
        spec: What the data set publishes; the command line fills it in.
        path: Which pairs and which points between them: `IndependentCFM`, `OptimalTransportCFM`, `Lipman`,
            `VariancePreservingCFM` or `SchroedingerBridgeCFM`; by default the first, with σ = 0.
        solver: What integrates the flow, in evaluation alone; any solver of the engine.
        eval_trace: How likelihoods get the trace; see `FlowModule`.
        times: At which times it is trained; by default uniform. `LogitNormalTimes` trains more between the
            ends.
        pool: Batches whose data are coupled at once: `OptimalTransportCFM` and `SchroedingerBridgeCFM` come
            closer to the transport between the distributions the more points they see.
        likelihood_samples: Test samples whose likelihood is computed, 0 for none; by default all in up to 16
            dimensions, else 128.
        **kwargs: See `GenerativeModule`.

    Raises:
        UsageError: The pool is below 1.
    """

    family = "flow-matching"
    title = "Flow matching"
    equation = "ẋ = f(t, x; θ), min E‖f(t, x_t) − u_t‖², x_t = a_t x₀ + b_t x₁ + s_t ε, u_t = ẋ_t"
    reference = (
        "Lipman et al. 2023, Flow Matching for Generative Modeling; Tong et al. 2024, Improving and "
        "Generalizing Flow-Based Generative Models with Minibatch Optimal Transport"
    )

    def __init__(
        self,
        spec: Spec,
        path: Path | None = None,
        solver: ODESolver | None = None,
        eval_trace: Trace | None = None,
        times: FlowTimes | None = None,
        pool: int = 1,
        likelihood_samples: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, solver, eval_trace, **kwargs)
        if pool < 1:
            raise UsageError(f"pool={pool} couples nothing", "set model.pool to 1 or more batches")
        self.path = path or IndependentCFM()
        self.times = times
        self.likelihood_samples = likelihood_limit(likelihood_samples, self.shape)
        self._pooled = PooledPairs(self.path.couple, pool) if pool > 1 else None

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """The regression on one draw of pairs and times."""
        x0, x1 = self.pairs(x, stage)
        t = self.draw_times(len(x0), x)
        x_t, u = self.path.between(x0, x1, t)
        terms = {"loss": (self.active(t, x_t) - u).square().mean()}
        name = f"{type(self.path).__name__}, one time"
        return Outcome(terms, len(x), solves=[SolveStats(1, vjps=int(stage == "train"), solver=name)])

    def pairs(self, x: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        """Noise and data, coupled as the path says: of the batch, or in training of an earlier pool."""
        if stage == "train" and self._pooled is not None:
            return self._pooled.next(x)
        return self.path.couple(torch.randn_like(x), x)

    def draw_times(self, n: int, like: Tensor) -> Tensor:
        """Times of training, shape (n,), as far from the ends as the path asks."""
        if self.times is None:
            return self.path.times(n, like)
        margin = self.path.margin
        return margin + (1 - 2 * margin) * self.times.draw(n, like)

    def extra_scores(self, data: Tensor, samples: Tensor, stage: str) -> dict[str, float]:
        """Straightness, and in the test the likelihood of the first samples; see `tested_likelihood`."""
        scores = super().extra_scores(data, samples, stage)
        if stage != "test":
            return scores

        def log_prob(x: Tensor, seed: int) -> tuple[Tensor, SolveStats]:
            found = self.likelihood(x, seed)
            return found.log_prob, found.stats

        return scores | tested_likelihood(self, data, log_prob)

    # ------------------------------------------------------------------ as a diffusion model

    @torch.no_grad()
    def generate(
        self, noise: Tensor, rows: range, seed: int, sampler: Any = None, y: Tensor | None = None
    ) -> tuple[Tensor, SolveStats]:
        """By an ODE solver, or `Sampling` by a diffusion sampler; see `GenerativeModule.generate`.

        Raises:
            IncompatibleError: A diffusion sampler, and the path is not that of `as_diffusion`.
        """
        if not isinstance(sampler, Sampling):
            return super().generate(noise, rows, seed, sampler, y)
        denoiser, process = self.as_diffusion()
        grid = sampler.grid or ShiftedGrid(1.0)
        return draw_samples(sampler, denoiser, process, grid, noise, rows, seed)

    def as_diffusion(self) -> tuple[Denoiser, Process]:
        """The flow as samplers of diffusion see it, whose time runs from the data to the noise.

        With independent pairs on straight lines without further noise, x_t = (1 − t) ε + t x₁ is the process
        `LinearFlow` at time 1 − t, and the velocity its prediction of x₁ − ε. Coupled pairs have another
        score: x_t given x₁ is no Gaussian around t x₁.

        Raises:
            IncompatibleError: Pairs are coupled, or the path is another one.
        """
        if type(self.path) is not IndependentCFM or self.path.sigma or self.teacher is not None:
            taught = " of a teacher's pairs" if self.teacher is not None else ""
            raise IncompatibleError(
                f"{type(self.path).__name__}{taught} is no diffusion process",
                "samplers of diffusion take IndependentCFM with sigma 0; this one an ODE solver",
            )
        process = LinearFlow()
        return Denoiser(_Backwards(self.trained), process, FlowPrediction()), process


class _Backwards(nn.Module):
    """A velocity towards the data at flow time 1 − t as one towards the noise at label 1000 t.

    Args:
        net: f(t, x).
    """

    def __init__(self, net: TimeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Shape of x; label of shape (batch,)."""
        value: Tensor = self.net(1 - label / 1000, x)
        return -value
