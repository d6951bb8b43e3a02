"""What continuous flows share, however they are trained: sampling, likelihood, straightness, pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from integrand.diffusion import ExactTrace, HutchinsonTrace, SampleNoise, Trace
from integrand.errors import UsageError
from integrand.solvers import Dopri5, ODESolver, SolveStats
from integrand.spec import Spec

from .backbones import TimeNet
from .base import GenerativeModule
from .likelihood import Likelihood, log_likelihood
from .plane import density
from .seeded import noise_rows
from .tested_likelihood import EXACT_UP_TO


class Velocity(nn.Module):
    """A network as solvers call it.

    Args:
        net: f(t, x, y).
        y: Class of each sample, None where there is none.
    """

    def __init__(self, net: TimeNet, y: Tensor | None = None) -> None:
        super().__init__()
        self.net = net
        self.y = y

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Evaluate at t and x."""
        value: Tensor = self.net(t, x, self.y)
        return value


class FlowModule(GenerativeModule):
    """A flow ẋ = f(t, x) that carries N(0, I) at t = 0 to the data at t = 1.

    Args:
        spec: What the data set publishes; the command line fills it in.
        solver: What integrates the flow from noise to samples, and from data to noise for likelihoods in
            evaluation; any solver of the engine. By default dopri5 with a step size for every sample, so that
            a sample does not depend on its batch.
        eval_trace: How likelihoods get the trace in evaluation; by default exactly in up to 16 dimensions,
            else by one Hutchinson probe.
        **kwargs: See `GenerativeModule`.
    """

    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        solver: ODESolver | None = None,
        eval_trace: Trace | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, **kwargs)
        # no default argument: the command line would carry per_sample over to a method named instead
        self.solver: ODESolver = Dopri5(per_sample=True) if solver is None else solver
        self.dim = math.prod(self.shape)
        self.eval_trace = eval_trace or (ExactTrace() if self.dim <= EXACT_UP_TO else HutchinsonTrace())

    def forward(self, x: Tensor) -> Tensor:
        """Log p(x) in nats, shape (batch,)."""
        return self.likelihood(x).log_prob

    def likelihood(self, x: Tensor, seed: int | None = None) -> Likelihood:
        """Log p(x) of a batch by the weights that evaluation uses, with the account of its solve.

        Args:
            x: Data, shape (batch, …); images already dequantised.
            seed: Seed of the trace's probes; by default they come from the global generator.
        """
        noise = None if seed is None else SampleNoise(seed, x.shape, dtype=x.dtype, device=x.device)
        return log_likelihood(self.trained, x, self.solver, self.eval_trace, noise=noise)

    @torch.no_grad()
    def generate(
        self, noise: Tensor, rows: range, seed: int, sampler: Any = None, y: Tensor | None = None
    ) -> tuple[Tensor, SolveStats]:
        """Solve from noise at t = 0 to t = 1; see `GenerativeModule.generate`.

        Raises:
            UsageError: The sampler is no ODE solver.
        """
        solution = self._solver(sampler).solve(Velocity(self.trained, y), noise, [0.0, 1.0])
        return solution.ys[-1], solution.stats

    @torch.no_grad()
    def encode(self, x: Tensor, sampler: ODESolver | None = None) -> Tensor:
        """The noise that the flow takes to x: the solve from t = 1 to t = 0."""
        return self._solver(sampler).solve(Velocity(self.trained), x, [1.0, 0.0]).ys[-1]

    @torch.no_grad()
    def paths(self, noise: Tensor, num_times: int = 33) -> tuple[Tensor, Tensor]:
        """Times (n_t,) and states (n_t, batch, …) of the flow from noise to samples."""
        times = [i / (num_times - 1) for i in range(num_times)]
        solution = self.solver.solve(Velocity(self.trained), noise, times)
        return solution.ts, solution.ys

    @torch.no_grad()
    def straightness(self, noise: Tensor, num_times: int = 33) -> float:
        """∫ E‖f(t, x(t)) − (x(1) − x(0))‖² dt along the flow (Liu et al. 2023).

        It is 0 if the paths are straight lines at constant speed, so that one Euler step is exact.
        """
        ts, xs = self.paths(noise, num_times)
        chord = xs[-1] - xs[0]
        gaps = [
            (self.trained(t.to(x.dtype), x) - chord).flatten(1).square().sum(dim=1).mean()
            for t, x in zip(ts, xs, strict=True)
        ]
        return float(torch.trapezoid(torch.stack(gaps), dx=1 / (num_times - 1)))

    def extra_scores(self, data: Tensor, samples: Tensor, stage: str) -> dict[str, float]:
        """Straightness; see `GenerativeModule.extra_scores`."""
        scores = super().extra_scores(data, samples, stage)
        if self.evaluation is not None:
            n = min(self.evaluation.num_samples, 512)
            noise = noise_rows(self.evaluation.seed, 0, n, self.shape).to(self.device, self.sample_dtype)
            scores["straightness"] = self.straightness(noise)
        return scores

    @torch.no_grad()
    def pictures(self, stage: str) -> dict[str, npt.NDArray[np.floating]]:
        """Also paths, and for points in the plane the density on a grid; see `GenerativeModule.pictures`."""
        found = super().pictures(stage)
        if not found:
            return found
        noise = noise_rows(1, 0, 64, self.shape).to(self.device, self.sample_dtype)
        found["paths"] = self.paths(noise)[1].float().cpu().numpy()
        if self.dim == 2:
            found |= density(self._log_prob, found["data"])
        return found

    def _log_prob(self, x: Tensor) -> Tensor:
        parts = torch.split(x.to(self.device, self.sample_dtype), self.sample_batch)
        return torch.cat([self.likelihood(part).log_prob for part in parts])

    def describe_solver(self) -> tuple[str, str]:
        """Solver and gradient mode in a few words."""
        return self.solver.describe(), getattr(self.solver, "gradient", "backprop")

    def _solver(self, sampler: Any) -> ODESolver:
        if sampler is None:
            return self.solver
        if not isinstance(sampler, ODESolver):
            raise UsageError(
                f"{type(sampler).__name__} cannot sample from {type(self).__name__}",
                "a flow is sampled by an ODE solver, such as Dopri5 or Euler",
            )
        return sampler
