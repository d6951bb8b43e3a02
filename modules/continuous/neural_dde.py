"""Neural delay differential equation (Zhu et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Solution
from integrand.solvers.delay import MethodOfSteps
from integrand.spec import Spec

from ..bench import BenchFamily, Dynamics, Stage


class DelayField(nn.Module):
    """f(t, h(t), h(t − τ)) from a function of both states side by side.

    Args:
        f: Module called as `f(t, y)` with y = [h; h(t − τ)], returning h's shape.
    """

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, t: Tensor, h: Tensor, delayed: Tensor) -> Tensor:
        """Evaluate at the scalar t, the state and the delayed state, concatenated along dimension 1."""
        value: Tensor = self.f(t, torch.cat([h, delayed], dim=1))
        return value


class DelayDynamics(Dynamics):
    """ḣ = field(t, h(t), h(t − τ)) on [0, t1], with h = h(0) before the start.

    Args:
        field: Module called as `field(t, h, delayed)`.
        scheme: Method of steps with the delay.
        t1: End of the interval, positive.
        channels: Channels of h.

    Raises:
        UsageError: t1 is not positive, or the delay is so short that it needs too many steps.
    """

    repeats = True
    reaches = "common"

    def __init__(self, field: nn.Module, scheme: MethodOfSteps, t1: float, channels: int) -> None:
        super().__init__()
        if not t1 > 0:
            raise UsageError(
                f"t1 must be positive, got {t1}", "set model.t1, the end of the interval [0, t1]"
            )
        scheme.nodes([0.0, t1])  # refuses a delay that is too short now rather than in the first batch
        self.field = field
        self.scheme = scheme
        self.t1 = t1
        self.out_channels = channels

    def residuals(self) -> list[nn.Module]:
        """The field."""
        return [self.field]

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve from the stem's output; see `Dynamics.forward`."""
        times = [self.t1 * i / (num_times - 1) for i in range(num_times)]
        return self.scheme.solve(self.field, h, times)

    def along(self, h: Tensor, times: Tensor) -> Solution:
        """Solve through all times, with no past before the first; see `Dynamics.along`."""
        return self.scheme.solve(self.field, h, times)


class NeuralDDE(BenchFamily):
    """Neural ODE whose field also sees the state τ ago; before the start that is h(0).

    Trajectories may cross, because the state at one time no longer determines the future. With `delay: 0` it
    is a neural ODE, and with a delay of t1 or more a neural ODE that sees its input throughout.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        delay: τ, 0 or more, in units of t.
        num_steps: Number of steps, more where the delay asks for shorter ones; each costs four evaluations.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "neural-dde"
    title = "Neural delay differential equation"
    group = "continuous"
    equation = "ḣ = f(h(t), h(t − τ), t; θ), h(t) = h(0) for t ≤ 0"
    reference = "Zhu et al. 2021, Neural Delay Differential Equations"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        delay: float = 0.5,
        num_steps: int = 8,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        scheme = MethodOfSteps(delay, num_steps=num_steps)

        def make(stage: Stage) -> DelayDynamics:
            width = stage.channels
            f = stage.field(2 * width, out_channels=width, time_dependent=time_dependent)
            return DelayDynamics(DelayField(f), scheme, t1, width)

        super().__init__(spec, make, channels=channels, **kwargs)
        self._scheme = scheme

    def describe_solver(self) -> tuple[str, str]:
        """The scheme in a few words, and backprop."""
        return self._scheme.describe(), "backprop"
