"""SDE-BNN: a neural ODE whose weights follow a stochastic equation (Xu et al. 2022)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from integrand.errors import UsageError
from integrand.solvers import EulerScheme, Solution
from integrand.solvers.sde import EulerMaruyama, solve_logqp
from integrand.spec import ImageSpec, Spec, VectorSpec

from ..bench import BenchFamily, Dynamics, Stage
from ..bench.stages import stages_of

START = 1e-3
"""Deviation of the weights of the control's last layer at the start: the posterior is nearly the prior."""


class Control(nn.Module):
    """u(t, w) of the posterior's drift −w + σ u: a perceptron with narrow layers, of w and t.

    Args:
        size: Number of weights w.
        widths: Widths of the hidden layers.
    """

    def __init__(self, size: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = size + 1
        for hidden in widths:
            layers += [nn.Linear(width, hidden), nn.Tanh()]
            width = hidden
        last = nn.Linear(width, size)
        nn.init.normal_(last.weight, std=START)
        nn.init.normal_(last.bias, std=START)
        self.net = nn.Sequential(*layers, last)

    def forward(self, t: Tensor, w: Tensor) -> Tensor:
        """Shape of w, (n, size); t is 0-d or of shape (n, 1)."""
        value: Tensor = self.net(torch.cat((w, t.to(w).expand(len(w), 1)), dim=1))
        return value


class WeightSDE(nn.Module):
    """dw = (−w + σ u(t, w)) dt + σ dB with the prior dw = −w dt + σ dB.

    Args:
        control: u.
        sigma: σ.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, control: nn.Module, sigma: float) -> None:
        super().__init__()
        self.control = control
        self.sigma = sigma

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Posterior drift."""
        value: Tensor = self.sigma * self.control(t, y) - y
        return value

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        """Prior drift."""
        return -y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        return torch.full_like(y, self.sigma)


class WithWeights(nn.Module):
    """A field with weights that are given to it.

    Args:
        field: The field, whose own weights are not used.
        weights: Tensors by the names of its weights.
    """

    def __init__(self, field: nn.Module, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.field = field
        self.weights = weights

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state h."""
        value: Tensor = functional_call(self.field, self.weights, (t, h))
        return value


class SDEBNNDynamics(Dynamics):
    """ḣ = f(t, h; w) by Euler's method, w along one path of `WeightSDE` by Euler–Maruyama on the same steps.

    Args:
        field: f; its weights are where the path starts.
        channels: Channels of the state.
        widths: Widths of the control's hidden layers.
        sigma: σ of the weights, positive.
        t1: End of the interval [0, t1], positive.
        num_steps: Number of steps.
        stl: Whether the gradient of the divergence sticks to the landing.
    """

    repeats = True

    def __init__(
        self,
        field: nn.Module,
        channels: int,
        widths: tuple[int, ...],
        sigma: float,
        t1: float,
        num_steps: int,
        stl: bool,
    ) -> None:
        super().__init__()
        start = {name: p.detach().clone() for name, p in field.named_parameters()}
        self.shapes = {name: value.shape for name, value in start.items()}
        self.start = nn.Parameter(torch.cat([value.flatten() for value in start.values()]))
        self.sde = WeightSDE(Control(len(self.start), widths), sigma)
        self.field = without_parameters(field)
        self.out_channels, self.t1, self.num_steps, self.stl = channels, t1, num_steps, stl
        self.scheme = EulerMaruyama(num_steps=num_steps)
        self.divergence: Tensor | None = None
        """Of the last path in training, a 0-d tensor."""

    def residuals(self) -> list[nn.Module]:
        """The field."""
        return [self.field]

    def paths(self, number: int) -> tuple[Tensor, Tensor]:
        """Weights at every node, shape (steps + 1, number, size), and the divergence of each, (number,)."""
        start = self.start.expand(number, -1)
        solution, steps = solve_logqp(self.scheme, self.sde, start, self.nodes())
        divergence = steps.sum(dim=0)
        if self.stl:
            landing = self.landing(solution.ys)
            divergence = divergence + (landing - landing.detach())
        return solution.ys, divergence

    def nodes(self) -> list[float]:
        """Times of the steps."""
        return [self.t1 * n / self.num_steps for n in range(self.num_steps + 1)]

    def landing(self, path: Tensor) -> Tensor:
        """∫ u dB along each path, shape (number,), with the weights of u held: sticking the landing.

        Its mean is zero, and so is that of its gradient. With it, the loss of a path at the exact posterior
        is the same for every path, and its gradient zero (Roeder et al. 2017; Xu et al. 2022, section 3.3).

        Args:
            path: Weights at every node, shape (steps + 1, number, size).
        """
        step, before, after = self.t1 / self.num_steps, path[:-1].flatten(0, 1), path[1:].flatten(0, 1)
        nodes = torch.tensor(self.nodes()[:-1], dtype=path.dtype, device=path.device)
        t = nodes.repeat_interleave(path.shape[1]).unsqueeze(1)
        with torch.no_grad():
            noise = (after - before - step * self.sde.f(t, before)) / self.sde.sigma
        held = {name: p.detach() for name, p in self.sde.control.named_parameters()}
        u = functional_call(self.sde.control, held, (t, before))
        found: Tensor = (u * noise).sum(dim=1).view(-1, path.shape[1]).sum(dim=0)
        return found

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve with one path of the weights for the batch; see `Dynamics.forward`. Above 2 times: all."""
        path, divergence = self.paths(1)
        if self.training:
            self.divergence = divergence[0]
        blocks = [WithWeights(self.field, self._named(w)) for w in path[:-1, 0]]
        solution = EulerScheme(self.t1 / self.num_steps, keep_all=num_times > 2).solve(blocks, h)
        solution.stats.nfe_diffusion = self.num_steps
        return solution

    def _named(self, weights: Tensor) -> dict[str, Tensor]:
        parts = torch.split(weights, [math.prod(shape) for shape in self.shapes.values()])
        return {name: p.view(shape) for (name, shape), p in zip(self.shapes.items(), parts, strict=True)}


def without_parameters(module: nn.Module) -> nn.Module:
    """The same module with buffers, which no checkpoint holds, in the place of its parameters."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach(), persistent=False)
    return module


class SDEBNN(BenchFamily):
    """A neural ODE whose weights are a stochastic process, inferred under an Ornstein–Uhlenbeck prior.

    One path of the weights serves a batch; evaluation pools the probabilities of `samples` paths. The loss
    adds the divergence of the posterior from the prior along the path, by a path of each batch; their weight
    in a bound of the evidence is one over the number of training samples. The start w(0) is a point that is
    learned without prior.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32.
        sigma: Diffusion σ of the weights, positive.
        kl: Weight of the divergence, 0 or more.
        widths: Widths of the hidden layers of the posterior's control.
        num_steps: Number of steps.
        t1: End of the interval [0, t1].
        samples: Paths of the weights that evaluation pools, 1 or more.
        stl: Whether the gradient of the divergence sticks to the landing.
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.

    Raises:
        UsageError: A number is out of its domain.
    """

    family = "sde-bnn"
    title = "SDE-BNN"
    group = "stochastic"
    takes: ClassVar[tuple[type[Spec], ...]] = (ImageSpec, VectorSpec)
    equation = "ḣ = f(h, t; w), dw = (σ u(w, t; φ) − w) dt + σ dB, min E L + λ ½ E∫|u|² dt"
    reference = (
        "Xu et al. 2022, Infinitely Deep Bayesian Neural Networks with Stochastic Differential Equations"
    )
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        sigma: float = 0.1,
        kl: float = 1e-3,
        widths: tuple[int, ...] = (2, 64, 2),
        num_steps: int = 10,
        t1: float = 1.0,
        samples: int = 10,
        stl: bool = True,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 < sigma < math.inf or not 0 <= kl < math.inf or not t1 > 0:
            raise UsageError(
                f"sigma={sigma}, kl={kl}, t1={t1}",
                "set model.sigma and model.t1 above 0, and model.kl to 0 or more",
            )
        if min(num_steps, samples, *widths, 1) < 1:
            raise UsageError(
                f"num_steps={num_steps}, samples={samples}, widths={widths}", "set them to 1 or more"
            )

        def make(stage: Stage) -> SDEBNNDynamics:
            field = stage.field(stage.channels, time_dependent=time_dependent)
            return SDEBNNDynamics(field, stage.channels, widths, sigma, t1, num_steps, stl)

        super().__init__(spec, make, channels=channels, **kwargs)
        self.samples, self.kl = samples, kl

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
        return None

    @property
    def rows_differ(self) -> bool:
        """One path of the weights serves all rows; see `BenchFamily.rows_differ`."""
        return False

    def penalty(self) -> dict[str, Tensor]:
        """The divergence of the paths of the last training batch, over all stages."""
        found: list[Tensor] = []
        for stage in stages_of(self.net.dynamics):
            if isinstance(stage, SDEBNNDynamics) and stage.divergence is not None:
                found.append(stage.divergence)
                stage.divergence = None
        return {"kl": self.kl * torch.stack(found).sum()}
