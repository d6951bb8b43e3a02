"""MeanFlow: a network of the mean velocity over an interval, which a single evaluation crosses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.diffusion import SampleNoise, Trace
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.solvers import ODESolver, SolveStats
from integrand.spec import Spec

from .backbones import Backbone, TimeNet, default_backbone
from .few_steps import FewSteps
from .flow_matching import FlowMatching
from .flow_times import FlowTimes
from .paths import Path


class MeanFlow(FewSteps, FlowMatching):
    """A flow that learns its mean velocity u(x, t, h) = (x(t + h) − x(t))/h, so that one step is exact.

    Differentiating h u along the flow at a fixed end t + h gives u = v + h du/dt, du/dt = v ∂ₓu + ∂ₜu − ∂ₕu
    (Geng et al. 2025, Eq. 6, whose time runs from the data to the noise). The network is regressed on the
    right-hand side, with the velocity of the path for v, du/dt by one Jacobian product in forward mode, and
    no gradient through either. At h = 0 it is the velocity: likelihoods and ODE solvers use that.

    Args:
        spec: What the data set publishes; the command line fills it in.
        num_steps: Steps of sampling unless told otherwise, one evaluation each.
        share: Share of the training intervals whose length is not 0.
        power: p of the weight (‖error‖² + 1e-3)^−p of each sample (Geng et al. 2025, Sec. 4.3); 0 for none,
            the default for points, 0.75 for images. With it the minimiser is no mean of velocities but nearer
            to their mode, which differ much where dimensions are few. Validation and test have none.
        path: Which pairs and which points between them; see `FlowMatching`.
        solver: What integrates the velocity for likelihoods; any solver of the engine.
        eval_trace: How likelihoods get the trace; see `FlowModule`.
        times: Distribution of the ends of the intervals; by default uniform.
        backbone: The network; the length of the interval is one more channel of its input.
        **kwargs: See `FlowMatching`.

    Raises:
        UsageError: The share lies outside of [0, 1], or the power is negative.
    """

    family = "mean-flow"
    title = "MeanFlow"
    equation = "x(t + h) = x(t) + h u(x, t, h; θ), min E‖u − sg(v + h (v ∂ₓu + ∂ₜu − ∂ₕu))‖²"
    reference = "Geng et al. 2025, Mean Flows for One-step Generative Modeling, Eq. 6"

    def __init__(
        self,
        spec: Spec,
        num_steps: int = 1,
        share: float = 0.75,
        power: float | None = None,
        path: Path | None = None,
        solver: ODESolver | None = None,
        eval_trace: Trace | None = None,
        times: FlowTimes | None = None,
        backbone: Backbone | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= share <= 1:
            raise UsageError(f"share must lie in [0, 1], got {share}", "set model.share to 0.75")
        if power is None:
            power = 0.75 if len(spec.input_shape) == 3 else 0.0
        if not power >= 0:
            raise UsageError(f"power must be 0 or more, got {power}", "set model.power to 0.75")
        whole = _WithLength(backbone or default_backbone(spec.input_shape))
        super().__init__(
            spec,
            path,
            solver,
            eval_trace,
            times=times,
            backbone=whole,
            num_steps=num_steps,
            **kwargs,
        )
        self.share, self.power = share, power

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """The regression on one draw of pairs and intervals."""
        x0, x1 = self.pairs(x, stage)
        t, h = self.intervals(len(x0), x)
        x_t, v = self.path.between(x0, x1, t)
        u, target = mean_and_target(self.active, t, h, x_t, v)
        squared = (u - target).square().flatten(1).sum(dim=1)
        train = stage == "train"
        if train:
            squared = squared * (squared.detach() + 1e-3) ** -self.power
        account = SolveStats(1, vjps=int(train), solver="mean velocity, one interval, one Jacobian product")
        return Outcome({"loss": squared.mean() / self.dim}, len(x), solves=[account])

    def intervals(self, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Starts t and lengths h ≥ 0 of training, each of shape (n,): two draws in order, or one and 0."""
        a, b = self.draw_times(n, like), self.draw_times(n, like)
        long = torch.rand(n, device=like.device) < self.share
        t = torch.where(long, torch.minimum(a, b), a)
        return t, torch.where(long, (b - a).abs(), 0.0)

    def take_steps(self, noise: Tensor, num_steps: int, draws: SampleNoise) -> Tensor:
        """Equal steps x ← x + h u(x, t, h) from t = 0 to 1 (Geng et al. 2025, Sec. 4.1)."""
        x = noise
        h = noise.new_tensor(1 / num_steps)
        for k in range(num_steps):
            x = x + h * self.trained(noise.new_tensor(k / num_steps), x, None, h)
        return x

    def generate_otherwise(
        self, noise: Tensor, rows: range, seed: int, sampler: Any, y: Tensor | None
    ) -> tuple[Tensor, SolveStats]:
        """Solve ẋ = u(x, t, 0); see `FlowMatching.generate`."""
        return FlowMatching.generate(self, noise, rows, seed, sampler, y)


def mean_and_target(net: nn.Module, t: Tensor, h: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The mean velocity u(x, t, h) of the network, and v + h du/dt, through which there is no gradient.

    Args:
        net: f(t, x, y, h).
        t: Starts of the intervals, shape (batch,).
        h: Their lengths, shape (batch,).
        x: States at the starts, shape (batch, …).
        v: Velocities there, shape of x.
    """
    one = torch.ones_like(t)
    made = torch.func.jvp(lambda s, z, k: net(s, z, None, k), (t, x, h), (one, v, -one))
    target = v + h.reshape(-1, *[1] * (x.ndim - 1)) * made[1]
    return made[0], target.detach()


class _WithLength(Backbone):
    """A backbone that is told the length of the interval too.

    Args:
        inner: The backbone.
    """

    def __init__(self, inner: Backbone) -> None:
        self.inner = inner

    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """See `Backbone.build`."""
        return _LengthNet(self.inner.build((shape[0] + 1, *shape[1:]), num_classes))


class _LengthNet(TimeNet):
    """f(t, x, y, h): a network with one channel more, which is h in its input and left out of its output.

    Args:
        inner: The network.
    """

    def __init__(self, inner: TimeNet) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """See `TimeNet.forward`.

        Args:
            t: Start of the interval.
            x: State there, shape (batch, …).
            y: Class of each sample, where the network is conditional.
            h: Length, 0-d or (batch,); 0 where omitted.
        """
        length = x.new_zeros(()) if h is None else h
        channel = length.reshape(-1, *[1] * (x.ndim - 1)).expand(len(x), 1, *x.shape[2:])
        out: Tensor = self.inner(t, torch.cat((x, channel), dim=1), y)
        return out[:, :-1]

    def blocks_once(self) -> list[nn.Module]:
        """See `TimeNet.blocks_once`."""
        return self.inner.blocks_once()
