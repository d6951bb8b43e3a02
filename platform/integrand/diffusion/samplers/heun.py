"""Heun's method of EDM, with churn."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.errors import UsageError

from ..processes import Node
from ..random_numbers import Stream
from .base import Run, Sampler
from .transfer import combine


class Heun(Sampler):
    """Heun's method on dy/dρ = ε, y = x/α, ρ = σ/α, noise added before a step (Karras et al. 2022, Alg. 2).

    On any process, because only ρ counts. The step to the data is Euler's, which is the predicted x_0:
    N steps of `EDMGrid` are 2N − 1 evaluations.

    Args:
        churn: S_churn; 0 is deterministic. γ = min(S_churn/N, √2 − 1).
        churn_min: S_min, the lowest ρ at which noise is added.
        churn_max: S_max, the highest.
        churn_noise: S_noise, the deviation of the added noise.
    """

    order = 2  # with churn too: adding noise and following the flow both keep the marginals
    evaluations_per_step = 2

    def __init__(
        self,
        churn: float = 0.0,
        churn_min: float = 0.0,
        churn_max: float = math.inf,
        churn_noise: float = 1.0,
    ) -> None:
        if churn < 0 or churn_noise <= 0 or churn_min > churn_max:
            raise UsageError(
                f"churn={churn:g} from {churn_min:g} to {churn_max:g} with churn_noise={churn_noise:g}",
                "churn is at least 0, churn_noise above 0, churn_min at most churn_max",
            )
        self.churn, self.churn_min, self.churn_max, self.churn_noise = (
            churn,
            churn_min,
            churn_max,
            churn_noise,
        )
        self.stochastic = self.off_grid = churn > 0

    @classmethod
    def examples(cls) -> tuple[Heun, ...]:
        """Deterministic and with churn."""
        return cls(), cls(churn=2.0)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        b = run.nodes[i + 1]
        x, a = self.churned(run, i, x)
        first = run.evaluate(x, a).noise()
        scale, slope = b.alpha / a.alpha, b.alpha * (b.rho - a.rho)
        euler = combine(scale, x, (slope, first))
        second = run.evaluate(euler, b).noise()
        # from Euler's step on, which saves passes over the state; its tensor may be the network's answer
        return torch.add(euler, second, alpha=0.5 * slope).sub_(first, alpha=0.5 * slope)

    def finish(self, run: Run, x: Tensor) -> Tensor:
        """The step to the data, churned like the others."""
        x, a = self.churned(run, run.last, x)
        return run.evaluate(x, a).data() * run.nodes[-1].alpha

    def churned(self, run: Run, i: int, x: Tensor) -> tuple[Tensor, Node]:
        """The state after noise was added, and its time."""
        a = run.nodes[i]
        gamma = min(self.churn / (len(run.nodes) - 1), math.sqrt(2) - 1)
        if not gamma or not self.churn_min <= a.rho <= self.churn_max:
            return x, a
        process = run.process
        log_snr = -math.log(a.rho * (1 + gamma))
        if math.isfinite(process.last_time):
            log_snr = max(log_snr, process.node(process.last_time).log_snr)
        raised = process.node_at(log_snr)
        extra = max(0.0, raised.rho**2 - a.rho**2) ** 0.5 * self.churn_noise * raised.alpha
        return combine(raised.alpha / a.alpha, x, (extra, run.normals(i, Stream.CHURN))), raised

    def describe(self) -> str:
        """Such as `heun` or `heun churn=40`."""
        return f"heun churn={self.churn:g}" if self.churn else "heun"
