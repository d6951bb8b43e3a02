"""Stochastic interpolants and [SF]²M: a flow and its score, sampled as an ODE or as an SDE."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from integrand.diffusion import SampleNoise, Trace
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.solvers import ODESolver, SolveStats
from integrand.solvers.options import require_positive
from integrand.spec import Spec

from .backbones import Backbone, TimeNet, default_backbone
from .few_steps import FixedSteps
from .flow_matching import FlowMatching
from .paths import LinearInterpolant, Path


class StochasticSteps(FixedSteps):
    """Euler–Maruyama steps of dx = (b + εs) dt + √(2ε) dW from noise to data.

    Args:
        num_steps: How many, one evaluation each.
        strength: c of ε(t) = c γ(t), which keeps the drift bounded at both ends.
        constant: Whether ε = c throughout instead; with c = ½σ² the SDE of a Schrödinger bridge (Tong et al.
            2024). The score is then taken no nearer to the ends than it was trained.

    Raises:
        UsageError: Fewer than one step, or the strength is not positive.
    """

    def __init__(self, num_steps: int = 50, strength: float = 1.0, constant: bool = False) -> None:
        super().__init__(num_steps)
        require_positive(strength=strength)
        self.strength, self.constant = strength, constant

    def describe(self) -> str:
        """Such as `50 stochastic steps`."""
        return f"{self.num_steps} stochastic step{'s' if self.num_steps > 1 else ''}"


class StochasticInterpolant(FlowMatching):
    """A flow whose network also says the noise of the path, hence the score, so that an SDE samples it too.

    With x_t = a_t x₀ + b_t x₁ + γ_t z the velocity is b = E[ẋ_t given x_t = x] and the score
    s = −E[z given x]/γ (Albergo et al. 2023, Stochastic Interpolants: A Unifying Framework);
    both are regressed at once. The ODE ẋ = b and the SDE dx = (b + εs) dt + √(2ε) dW have the same marginals
    for any ε ≥ 0. On `SchroedingerBridgeCFM` it is [SF]²M (Tong et al. 2024, Simulation-Free Schrödinger
    Bridges via Score and Flow Matching).

    Args:
        spec: What the data set publishes; the command line fills it in.
        path: Which pairs and which points between them: `LinearInterpolant`, the default,
            `TrigonometricInterpolant`, `SchroedingerBridgeCFM`, or another path with noise between the ends.
        solver: What integrates the ODE, in evaluation alone; any solver of the engine.
        eval_trace: How likelihoods get the trace; see `FlowModule`.
        backbone: The network; its channels are doubled, for velocity and noise.
        **kwargs: See `FlowMatching`.

    Raises:
        UsageError: The path has no noise of its own.
    """

    family = "stochastic-interpolant"
    title = "Stochastic interpolant"
    equation = "dx = (b + εs) dt + √(2ε) dW, min E‖b − ẋ_t‖² + E‖η − z‖², s = −η/γ, x_t = a x₀ + b x₁ + γz"
    reference = (
        "Albergo et al. 2023, Stochastic Interpolants: A Unifying Framework for Flows and Diffusions; Tong "
        "et al. 2024, Simulation-Free Schrödinger Bridges via Score and Flow Matching"
    )
    own_sampler = StochasticSteps

    def __init__(
        self,
        spec: Spec,
        path: Path | None = None,
        solver: ODESolver | None = None,
        eval_trace: Trace | None = None,
        backbone: Backbone | None = None,
        **kwargs: Any,
    ) -> None:
        path = path or LinearInterpolant()
        if not (path.spreads and path.sigma > 0):
            raise UsageError(
                f"{type(path).__name__} without noise has no score to learn",
                "take LinearInterpolant, or a sigma above 0",
            )
        both = _Doubled(backbone or default_backbone(spec.input_shape))
        super().__init__(spec, path, solver, eval_trace, backbone=both, **kwargs)

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """Both regressions on one draw of pairs, times and noise."""
        x0, x1 = self.pairs(x, stage)
        t, z = self.draw_times(len(x0), x), torch.randn_like(x0)
        x_t, u = self.path.between(x0, x1, t, z)
        velocity, noise = self.active(t, x_t, None, True).chunk(2, dim=1)
        loss = (velocity - u).square().mean() + (noise - z).square().mean()
        name = f"{type(self.path).__name__}, velocity and noise at one time"
        account = SolveStats(1, vjps=int(stage == "train"), solver=name)
        return Outcome({"loss": loss}, len(x), solves=[account])

    @torch.no_grad()
    def generate(
        self, noise: Tensor, rows: range, seed: int, sampler: Any = None, y: Tensor | None = None
    ) -> tuple[Tensor, SolveStats]:
        """By an ODE solver, or by `StochasticSteps`; see `GenerativeModule.generate`.

        Raises:
            UsageError: The sampler is neither.
        """
        if not isinstance(sampler, StochasticSteps):
            return super().generate(noise, rows, seed, sampler, y)
        draws = SampleNoise(seed, noise.shape, rows.start, noise.dtype, noise.device)
        x, h = noise, 1 / sampler.num_steps
        for k in range(sampler.num_steps):
            t = noise.new_tensor(k * h)
            epsilon, push = self.diffusion(t, sampler)
            velocity, eta = self.trained(t, x, None, True).chunk(2, dim=1)
            x = x + h * (velocity - push * eta) + math.sqrt(2 * epsilon * h) * draws.normals(k)
        return x, SolveStats(nfe_forward=sampler.num_steps, solver=sampler.describe())

    def diffusion(self, t: Tensor, how: StochasticSteps) -> tuple[float, float]:
        """The noise ε(t) of the SDE, and ε/γ: the factor of −E[z given x] in its drift b + εs."""
        if not how.constant:
            return how.strength * float(self.path.coefficients(t).spread), how.strength
        inside = t.clamp(max(self.path.margin, 1e-3), 1 - max(self.path.margin, 1e-3))
        return how.strength, how.strength / float(self.path.coefficients(inside).spread)


class _Doubled(Backbone):
    """A backbone with twice the channels.

    Args:
        inner: The backbone.
    """

    def __init__(self, inner: Backbone) -> None:
        self.inner = inner

    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """See `Backbone.build`."""
        return _DoubledNet(self.inner.build((2 * shape[0], *shape[1:]), num_classes))


class _DoubledNet(TimeNet):
    """Two fields of one state: a network that is told it twice.

    Args:
        inner: The network of twice the channels.
    """

    def __init__(self, inner: TimeNet) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None, both: bool = False) -> Tensor:
        """See `TimeNet.forward`.

        Args:
            t: Time.
            x: State, shape (batch, channels, …).
            y: Class of each sample, where the network is conditional.
            both: Whether the second field follows along the channels; else the first alone.
        """
        out: Tensor = self.inner(t, torch.cat((x, x), dim=1), y)
        return out if both else out.chunk(2, dim=1)[0]

    def blocks_once(self) -> list[nn.Module]:
        """See `TimeNet.blocks_once`."""
        return self.inner.blocks_once()
