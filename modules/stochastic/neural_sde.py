"""Neural stochastic differential equation (Liu et al. 2019)."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Solution
from integrand.solvers.sde import EulerMaruyama, Milstein
from integrand.spec import Spec

from ..bench import BenchFamily, Dynamics, Stage
from ..series.lockstep_sde import Gradient
from .in_depth import DepthSDE
from .jumps import JumpDynamics
from .stable import EQUATIONS, StableDynamics

Diffusion = Literal["additive", "multiplicative", "dropout", "jump", "langevin", "linear-noise", "geometric"]
Method = Literal["euler-maruyama", "milstein"]


class DiffusedField(nn.Module):
    """dh = f(t, h) dt + G(t, h) ⊙ dW in Itô's sense, with one Brownian motion for each component of h.

    | diffusion | G |
    |---|---|
    | additive | σ |
    | multiplicative | σh |
    | dropout | σf(t, h): dropout with σ = √(p/(1 − p)) in the limit of small steps |

    G costs no evaluation of f: that of the drift serves for both.

    Args:
        field: f, called as `field(t, h)`.
        diffusion: Which G.
        sigma: σ, 0 or more.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, field: nn.Module, diffusion: Diffusion, sigma: float) -> None:
        super().__init__()
        self.field = field
        self.diffusion = diffusion
        self.sigma = sigma
        self._drift: tuple[Tensor, Tensor] | None = None

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift at the scalar t and the state y of shape (batch, ...)."""
        value: Tensor = self.field(t, y)
        if self.diffusion == "dropout":
            self._drift = (y, value)
        return value

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diagonal of the diffusion, shape of y; with `dropout` after the drift at the same state."""
        if self.diffusion == "additive":
            return torch.full_like(y, self.sigma)
        if self.diffusion == "multiplicative":
            return self.sigma * y
        last, self._drift = self._drift, None  # kept longer, it would keep a graph alive
        assert last is not None
        assert last[0] is y
        return self.sigma * last[1]


class SDEDynamics(DepthSDE):
    """Solves the equation of a `DiffusedField` on [0, t1] in equal steps; without noise in evaluation.

    Args:
        field: Drift, called as `field(t, h)`.
        channels: Channels of the state.
        diffusion: Which diffusion; see `DiffusedField`.
        sigma: Its strength σ, 0 or more.
        t1: End of the interval, positive.
        num_steps: Number of steps.
        method: Scheme.
        gradient: How the solve is differentiated.
        noisy_evaluation: Whether evaluation solves the stochastic equation too, instead of ḣ = f.

    Raises:
        UsageError: A number is out of its domain, or the method does not take the diffusion.
    """

    def __init__(
        self,
        field: nn.Module,
        channels: int,
        diffusion: Diffusion,
        sigma: float,
        t1: float,
        num_steps: int,
        method: Method,
        gradient: Gradient,
        noisy_evaluation: bool,
    ) -> None:
        if diffusion not in ("additive", "multiplicative", "dropout"):
            raise UsageError(
                f"unknown diffusion {diffusion!r}",
                f"set model.diffusion to {', '.join(get_args(Diffusion))}",
            )
        if method not in ("euler-maruyama", "milstein"):
            raise UsageError(f"unknown method {method!r}", "set model.method to euler-maruyama or milstein")
        if not 0 <= sigma < math.inf:
            raise UsageError(f"sigma must be 0 or more, got {sigma}", "set model.sigma; 0 is the neural ODE")
        if not t1 > 0:
            raise UsageError(
                f"t1 must be positive, got {t1}", "set model.t1, the end of the interval [0, t1]"
            )
        if num_steps < 1:
            raise UsageError(f"num_steps must be at least 1, got {num_steps}", "set model.num_steps")
        if method == "milstein" and diffusion == "dropout":
            raise UsageError(
                "milstein needs a diffusion whose component i depends on component i of the state alone; "
                "with dropout it is f, which depends on all",
                "set model.method to euler-maruyama",
            )
        scheme = EulerMaruyama if method == "euler-maruyama" else Milstein
        super().__init__(channels, t1, num_steps, gradient, noisy_evaluation, scheme)
        self.sde = DiffusedField(field, diffusion, sigma)

    def residuals(self) -> list[nn.Module]:
        """The drift."""
        return [self.sde.field]

    def solve(self, h: Tensor, times: list[float] | Tensor) -> Solution:
        """See `DepthSDE.solve`."""
        if self.noisy:
            return self.scheme.solve(self.sde, h, times)
        return self.drift_alone.solve(self.sde.field, h, times)


class NeuralSDE(BenchFamily):
    """Neural ODE with noise in depth: dh = f dt + G dW, solved in equal steps in training.

    Evaluation follows the drift alone, or averages the logits of several paths. Paths come from torch's
    generator. With `sigma: 0`, and in evaluation by the drift, it is the neural ODE by Euler's method.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        diffusion: G: `additive` is σ, `multiplicative` is σh, `dropout` is σf. `jump` has no diffusion: each
            element of the state jumps by ±σh at the times of a Poisson process; see `JumpDynamics`.
            `langevin`, `linear-noise` and `geometric` are the stable equations of Oh, Lim and Kim 2024: the
            strength is σ times a learned function of the time, the drift also sees where the state began;
            see `StableDynamics`.
        sigma: Strength σ, 0 or more; √(p/(1 − p)) makes `dropout` that of probability p.
        num_steps: Number of steps.
        t1: End of the interval [0, t1].
        method: `euler-maruyama`, of strong order 1/2, or `milstein`, of order 1, not with `dropout`.
        gradient: `backprop` keeps the graph of every step, `checkpoint` one state per step.
        samples: Paths over which evaluation averages; 0 for the drift alone.
        rate: Jumps of an element in a unit of time; `jump` alone asks.
        time_dependent: Whether the drift sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.

    Raises:
        UsageError: A number is out of its domain, or the method does not take the diffusion.
    """

    family = "neural-sde"
    title = "Neural SDE"
    group = "stochastic"
    equation = "dh = f(h, t; θ) dt + G(h, t) dW, G = σ, σh, σf, σ(t; φ) or σ(t; φ)h"
    reference = "Liu et al. 2019, Neural SDE: Stabilizing Neural ODE Networks with Stochastic Noise"
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        diffusion: Diffusion = "additive",
        sigma: float = 0.1,
        num_steps: int = 10,
        t1: float = 1.0,
        method: Method = "euler-maruyama",
        gradient: Gradient = "backprop",
        samples: int = 0,
        rate: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if samples < 0:
            raise UsageError(f"samples must be 0 or more, got {samples}", "set model.samples")

        if diffusion in EQUATIONS and method != "euler-maruyama":
            raise UsageError(f"{diffusion} is not solved by {method}", "leave model.method out")
        if diffusion == "jump" and (method != "euler-maruyama" or gradient != "backprop"):
            raise UsageError(
                f"jumps are not solved by {method} with gradient {gradient}",
                "leave model.method and model.gradient out",
            )

        def make(stage: Stage) -> Dynamics:
            # the force of Langevin's equation does not depend on the time
            timed = False if diffusion == "langevin" and time_dependent is None else time_dependent
            field = stage.field(stage.channels, time_dependent=timed)
            noisy = samples > 0
            if diffusion in EQUATIONS:
                return StableDynamics(
                    field, stage.channels, stage.axes, diffusion, sigma, t1, num_steps, gradient, noisy
                )
            if diffusion == "jump":
                return JumpDynamics(field, stage.channels, sigma, rate, t1, num_steps, noisy)
            return SDEDynamics(
                field,
                stage.channels,
                diffusion,
                sigma,
                t1,
                num_steps,
                method,
                gradient,
                noisy_evaluation=noisy,
            )

        super().__init__(spec, make, channels=channels, **kwargs)
        self.samples = samples
        self.stochastic = sigma > 0 and (diffusion != "jump" or rate > 0)

    @property
    def passes(self) -> int:
        """Paths that one prediction averages, in the present mode."""
        return 1 if self.training else max(1, self.samples)

    @property
    def components(self) -> int | None:
        """As many as one asks for where evaluation follows paths; see `FamilyModule.components`."""
        return None if self.stochastic and self.samples > 0 else 1

    def describe_solver(self) -> tuple[str, str]:
        """Scheme and gradient mode in a few words."""
        # of several stages, all the same
        schemes = (m.scheme for m in self.net.modules() if isinstance(m, DepthSDE))
        scheme = next(schemes, None)
        return (scheme.describe(), scheme.gradient) if scheme else ("euler, jumps", "backprop")
