"""Nesterov neural ODE (Nguyen et al. 2022)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import ODESolver, Solution
from integrand.spec import Spec

from ..bench import BenchFamily, Dynamics, Stage
from .ode import DEFAULT_SOLVER


def scale(t: Tensor) -> Tensor:
    """k(t) = t^{−3/2} e^{t/2}, which takes x to h = k x and removes the 3/t from ḧ + (3/t)ḣ + f = 0."""
    return t**-1.5 * torch.exp(t / 2)


def growth(t: Tensor) -> Tensor:
    """k̇/k = ½ − 3/(2t)."""
    return 0.5 - 1.5 / t


def to_momentum(t: Tensor, y: Tensor) -> Tensor:
    """[h; ḣ] to [x; m = ẋ] at the scalar time t > 0: x = h/k, m = (ḣ − (k̇/k) h)/k."""
    h, v = y.chunk(2, dim=1)
    return torch.cat([h, v - growth(t) * h], dim=1) / scale(t)


class NesterovField(nn.Module):
    """ẋ = m, ṁ = −m − F on the state [x; m], for t > 0, with h = k(t) x.

    `folded`, as published: F = f(t, h), so that f has to learn what the transformation leaves behind.
    Otherwise F = f(t, h)/k + (¼ − 3/(4t²)) x, and h solves ḧ + (3/t)ḣ + f(t, h) = 0, the limit of Nesterov's
    method (Su, Boyd, Candès 2014), exactly. Both contract volume at the rate 1: log|det| = −d (T − t₀).

    Args:
        f: Module called as `f(t, h)`, returning h's shape.
        folded: Whether the term in x and the factor 1/k are left to f.
    """

    def __init__(self, f: nn.Module, folded: bool = True) -> None:
        super().__init__()
        self.f = f
        self.folded = folded

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t > 0 and the state [x; m], concatenated along dimension 1."""
        x, m = y.chunk(2, dim=1)
        k = scale(t)
        force = self.f(t, k * x)
        if not self.folded:
            force = force / k + (0.25 - 0.75 / t**2) * x
        return torch.cat([m, -m - force], dim=1)


class NesterovDynamics(Dynamics):
    """Solves for [x; m] on [t0, t0 + length] and returns h = k(t) x.

    Args:
        field: A `NesterovField`.
        solver: What integrates it.
        t0: Start, positive: k(0) is infinite.
        length: Length of the interval, positive.
        channels: Channels of h.
        lift: Hidden state to [h; ḣ] at t0.

    Raises:
        UsageError: t0 or length is not positive.
    """

    composition = "field"
    repeats = True
    reaches = "common"

    def __init__(
        self,
        field: NesterovField,
        solver: ODESolver,
        t0: float,
        length: float,
        channels: int,
        lift: nn.Module,
    ) -> None:
        super().__init__()
        if not t0 > 0:
            raise UsageError(
                f"t0 must be positive, got {t0}: 3/t and k(t) = t^(-3/2) e^(t/2) are singular at t = 0",
                "set model.t0 above 0; the authors integrate over [1, 2]",
            )
        if not length > 0:
            raise UsageError(f"length must be positive, got {length}", "set model.length")
        self.field = field
        self.solver: ODESolver = solver
        self.t0, self.length = t0, length
        self.out_channels = channels
        self.lift = lift

    def residuals(self) -> list[nn.Module]:
        """The field."""
        return [self.field]

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve from the stem's output; see `Dynamics.forward`."""
        length = self.length / (num_times - 1)
        return self._solve(h, [self.t0 + length * i for i in range(num_times)])

    def along(self, h: Tensor, times: Tensor) -> Solution:
        """Solve through all times, the first of which is taken for t0; see `Dynamics.along`."""
        solution = self._solve(h, (times - times[0] + self.t0).tolist())
        solution.ts = times
        return solution

    def _solve(self, h: Tensor, times: list[float]) -> Solution:
        t0 = torch.tensor(self.t0, dtype=h.dtype, device=h.device)
        solution = self.solver.solve(self.field, to_momentum(t0, self.lift(h)), times)
        k = scale(solution.ts).to(solution.ys.dtype)
        solution.ys = solution.ys[:, :, : self.out_channels] * k.view(-1, *[1] * h.ndim)
        return solution


class NesterovNeuralODE(BenchFamily):
    """Neural ODE from the continuous limit of Nesterov's accelerated gradient: damping that fades like 3/t.

    The state is carried as x and m throughout and converted at both ends, from the equations; the authors'
    code reads the state of its field as (h, ḣ) but returns (ẋ, ṁ).

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state h; the solver integrates twice as many.
        folded: Whether f absorbs the term in x and the factor 1/k, as published. Without it h solves
            ḧ + (3/t)ḣ + f = 0 exactly.
        solver: What integrates the field.
        t0: Start of the interval, above 0.
        length: Length of the interval [t0, t0 + length].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "nesterov-neural-ode"
    title = "Nesterov neural ODE"
    group = "continuous"
    equation = "h = t^{−3/2} e^{t/2} x, ẋ = m, ṁ = −m − f(h, t; θ)"
    reference = "Nguyen et al. 2022, Improving Neural ODEs with Nesterov's Accelerated Gradient Method"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        folded: bool = True,
        solver: ODESolver = DEFAULT_SOLVER,
        t0: float = 1.0,
        length: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> NesterovDynamics:
            width = stage.channels
            field = NesterovField(stage.field(width, time_dependent=time_dependent), folded)
            return NesterovDynamics(field, solver, t0, length, width, stage.momentum(width))

        super().__init__(spec, make, channels=channels, **kwargs)
