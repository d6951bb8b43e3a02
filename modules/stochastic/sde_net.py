"""SDE-Net: a diffusion net that is large away from the data (Kong et al. 2020)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Series
from integrand.solvers import Solution, SolveStats
from integrand.solvers.sde import EulerMaruyama
from integrand.spec import ImageSpec, Spec, Targets, VectorSpec

from ..bench import BenchFamily, Dynamics, Stage
from ..defaults import Maker
from ..schedules import step_schedules, with_schedules

LEAST_DEVIATION = 1e-3


class DiffusionNet(nn.Module):
    """g(x₀) in (0, 1), one number for each sample: field, ReLU, mean over space, linear, sigmoid.

    Args:
        field: The first layers, called as `field(t, x)`.
        channels: Channels of x.
    """

    def __init__(self, field: nn.Module, channels: int) -> None:
        super().__init__()
        self.field = field
        self.readout = nn.Linear(channels, 1)
        # so that g starts at ½ everywhere
        nn.init.normal_(self.readout.weight, std=1e-3)
        nn.init.zeros_(self.readout.bias)

    def logit(self, x: Tensor) -> Tensor:
        """The logit of g, shape (batch,), at x of shape (batch, channels, …)."""
        value: Tensor = torch.relu(self.field(x.new_zeros(()), x))
        value = value.flatten(2).mean(dim=2) if value.ndim > 2 else value
        logit: Tensor = self.readout(value)[:, 0]
        return logit

    def forward(self, x: Tensor) -> Tensor:
        """The diffusion, shape (batch,)."""
        return torch.sigmoid(self.logit(x))


class HeldDiffusion(nn.Module):
    """dx = f(t, x) dt + c dW in Itô's sense, c one number for each sample for as long as a solve takes.

    Args:
        drift: f.
        strength: c, shape (batch,).
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, drift: nn.Module, strength: Tensor) -> None:
        super().__init__()
        self.drift = drift
        self.strength = strength

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        value: Tensor = self.drift(t, y)
        return value

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diagonal of the diffusion, shape of y."""
        return self.strength.view(-1, *[1] * (y.ndim - 1)).expand_as(y)


class SDENetDynamics(Dynamics):
    """x_{k+1} = x_k + f(t_k, x_k) Δt + σ g(x₀) √Δt Z, Δt = t1/N, with σ of its own for evaluation.

    In training g is a number that the drift is trained under; its own loss trains it.

    Args:
        drift: f.
        diffusion: g.
        channels: Channels of the state.
        sigma: σ in training, 0 or more.
        test_sigma: σ in evaluation, 0 or more.
        t1: End of the interval [0, t1], positive.
        num_steps: Number N of steps.

    Raises:
        UsageError: A number is out of its domain.
    """

    repeats = True

    def __init__(
        self,
        drift: nn.Module,
        diffusion: DiffusionNet,
        channels: int,
        sigma: float,
        test_sigma: float,
        t1: float,
        num_steps: int,
    ) -> None:
        super().__init__()
        for name, value in (("sigma", sigma), ("test_sigma", test_sigma)):
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} must be 0 or more, got {value}", f"set model.{name}")
        if not t1 > 0 or num_steps < 1:
            raise UsageError(
                f"t1={t1}, num_steps={num_steps}", "set model.t1 above 0 and model.num_steps to 1 or more"
            )
        self.drift, self.diffusion, self.out_channels = drift, diffusion, channels
        self.sigma, self.test_sigma, self.t1 = sigma, test_sigma, t1
        self.num_steps = num_steps
        self.scheme = EulerMaruyama(num_steps=num_steps)

    def residuals(self) -> list[nn.Module]:
        """The drift; the diffusion is evaluated once."""
        return [self.drift]

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve along one path for each sample; see `Dynamics.forward`. Above 2 times: every step."""
        g = self.diffusion(h)
        strength = self.sigma * g.detach() if self.training else self.test_sigma * g
        points = 1 if num_times == 2 else self.num_steps
        times = [self.t1 * i / points for i in range(points + 1)]
        solution = self.scheme.solve(HeldDiffusion(self.drift, strength), h, times)
        solution.stats.nfe_diffusion = 1
        return solution


class SDENet(BenchFamily):
    """A drift that is trained to predict, under noise of a strength g(x₀) that is trained to tell data apart.

    Each batch makes two steps: stem, drift and head on the task's loss, and g on the cross-entropy between
    the batch and the batch with noise of deviation `shift` on it, whose hidden states it sees without their
    graph. Evaluation pools the probabilities of `samples` paths under stronger noise. Of numbers the network
    says mean and deviation, and draws hold both the paths and the deviation. Doubt is g.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32.
        sigma: Strength σ of the noise in training, 0 or more.
        test_sigma: Strength in evaluation, 0 or more.
        num_steps: Number of steps.
        t1: End of the interval [0, t1].
        samples: Paths that evaluation pools, 1 or more.
        shift: Deviation of the noise on inputs that g is to find foreign, positive.
        time_dependent: Whether drift and diffusion net see t as a further channel; by default where the law
            may change.
        diffusion_optimizer: Of g; by default the authors' SGD.
        **kwargs: See `BenchFamily`; `optimizer` is that of stem, drift and head.

    Raises:
        UsageError: A number is out of its domain.
    """

    family = "sde-net"
    title = "SDE-Net"
    group = "stochastic"
    takes: ClassVar[tuple[type[Spec], ...]] = (ImageSpec, VectorSpec)
    staged = False
    equation = "dx = f(x, t; θ) dt + σ g(x₀; φ) dW, min_θ E L, min_φ −E log(1 − g(x₀)) − E log g(x̃₀)"
    reference = "Kong et al. 2020, SDE-Net: Equipping Deep Neural Networks with Uncertainty Estimates, eq. 8"
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        sigma: float = 0.5,
        test_sigma: float = 5.0,
        num_steps: int = 4,
        t1: float = 1.0,
        samples: int = 10,
        shift: float = 2.0,
        time_dependent: bool | None = None,
        diffusion_optimizer: OptimizerCallable = lambda params: torch.optim.SGD(
            params, lr=0.01, momentum=0.9, weight_decay=5e-4
        ),
        **kwargs: Any,
    ) -> None:
        if samples < 1 or not 0 < shift < math.inf:
            raise UsageError(
                f"samples={samples}, shift={shift}",
                "set model.samples to 1 or more and model.shift above 0",
            )

        def make(stage: Stage) -> SDENetDynamics:
            width = stage.channels
            drift, first = (stage.field(width, time_dependent=time_dependent) for _ in range(2))
            return SDENetDynamics(drift, DiffusionNet(first, width), width, sigma, test_sigma, t1, num_steps)

        super().__init__(spec, make, channels=channels, **kwargs)
        self.automatic_optimization = False
        self.samples, self.shift = samples, shift
        self._make_diffusion_optimizer = Maker(diffusion_optimizer, type(self), "diffusion_optimizer")

    # ------------------------------------------------------------------ what it says

    @property
    def dynamics(self) -> SDENetDynamics:
        """The equation."""
        dynamics = self.net.dynamics
        assert isinstance(dynamics, SDENetDynamics)
        return dynamics

    @property
    def passes(self) -> int:
        """Paths that one prediction pools, in the present mode."""
        return 1 if self.training else self.samples

    @property
    def pools(self) -> bool:
        """Paths are draws; see `BenchFamily.pools`."""
        return True

    @property
    def components(self) -> int | None:
        """As many as one asks for; see `FamilyModule.components`."""
        return None if self.dynamics.test_sigma > 0 or self.tells_deviation else 1

    @property
    def tells_deviation(self) -> bool:
        """Whether the network says mean and deviation: of numbers, not of classes."""
        return isinstance(self.spec.question, Targets)

    @property
    def outputs(self) -> int:
        """See `BenchFamily.outputs`."""
        return self.task.outputs * (2 if self.tells_deviation else 1)

    def evaluate(self, x: Tensor | Series, times: Tensor | None = None) -> tuple[Tensor, list[SolveStats]]:
        """See `BenchFamily.evaluate`; of numbers the means alone."""
        said, solves = super().evaluate(x, times)
        return said[:, : self.task.outputs], solves

    def draws(
        self, x: Tensor | Series, count: int, times: Tensor | None = None
    ) -> tuple[Tensor, list[SolveStats]]:
        """See `FamilyModule.draws`; of numbers each from the normal law that its path says."""
        said, solves = super().draws(x, count, times)
        if self.tells_deviation:
            mean, deviation = _law(said)
            said = mean + deviation * torch.randn_like(mean)
        return said, solves

    def doubts(self, x: Any) -> dict[str, Tensor]:
        """The diffusion g(x₀)."""
        return {"diffusion": self.dynamics.diffusion(self.net.stem(x))}

    # ------------------------------------------------------------------ steps

    def step(self, batch: tuple[Any, Any], stage: str) -> Outcome:
        """See `BenchFamily.step`; of numbers, training is on the negative log-density of the law."""
        if stage != "train" or not self.tells_deviation:
            return super().step(batch, stage)
        x, target = batch
        said, solves = super().evaluate(x)
        mean, deviation = _law(said)
        loss = F.gaussian_nll_loss(mean, target, deviation.square())
        return Outcome({"loss": loss}, len(x), {}, mean.detach(), target, solves, x)

    def diffusion_loss(self, x: Tensor) -> Tensor:
        """−log(1 − g) of the batch − log g of the batch with noise, a 0-d tensor that reaches g alone."""
        with torch.no_grad():
            inside, outside = (self.net.stem(z) for z in (x, x + self.shift * torch.randn_like(x)))
        logit = self.dynamics.diffusion.logit
        return F.softplus(logit(inside)).mean() + F.softplus(-logit(outside)).mean()

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """One step of stem, drift and head, then one of g."""
        outcome = self._recorded(batch, "train")
        both: Any = self.optimizers()
        predictor, diffusion = both
        predictor.zero_grad()
        self.manual_backward(outcome.loss)
        predictor.step()
        assert isinstance(outcome.inputs, Tensor)
        loss = self.diffusion_loss(outcome.inputs)
        diffusion.zero_grad()
        self.manual_backward(loss)
        diffusion.step()
        self._log_mean("train/diffusion_loss", loss, outcome.size)
        step_schedules(self, "step")
        return {"loss": outcome.loss.detach(), "outcome": outcome}

    def on_train_epoch_end(self) -> None:
        """Step the schedules that do so each epoch."""
        step_schedules(self, "epoch")

    def configure_optimizers(self) -> Any:
        """Two, with a schedule each: of stem, drift and head, and of g."""
        mine = list(self.dynamics.diffusion.parameters())
        kept = {id(p) for p in mine}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in kept]
        made = (self._make_optimizer(others), self._make_diffusion_optimizer(mine))
        return with_schedules(made, self._make_lr_scheduler, self._interval)

    def shards(self) -> list[nn.Module]:
        """Refused: each step belongs to a part of the weights."""
        raise self.unshardable("it has two optimisers")


def _law(said: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, each (…, targets), of what the network says, (…, 2 · targets)."""
    mean, raw = said.chunk(2, dim=-1)
    return mean, F.softplus(raw) + LEAST_DEVIATION
