"""Fractional neural ODE (Coelho et al. 2024)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Solution
from integrand.solvers.fractional import CaputoPECE
from integrand.spec import Spec

from ..bench import BenchFamily, Dynamics, Stage


class FractionalDynamics(Dynamics):
    """D^α h = field(t, h) on [0, t1] with the Caputo derivative.

    Args:
        field: Module called as `field(t, h)`.
        scheme: Solver with the order α.
        t1: End of the interval, positive.
        channels: Channels of h.

    Raises:
        UsageError: t1 is not positive.
    """

    repeats = True
    reaches = "common"

    def __init__(self, field: nn.Module, scheme: CaputoPECE, t1: float, channels: int) -> None:
        super().__init__()
        if not t1 > 0:
            raise UsageError(
                f"t1 must be positive, got {t1}", "set model.t1, the end of the interval [0, t1]"
            )
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


class FractionalNeuralODE(BenchFamily):
    """Neural ODE with a derivative of order α: the field's whole past moves the state.

    The weight of the past fades like a power of time. With `alpha: 1` it is the neural ODE.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        alpha: Order α of the Caputo derivative, 0 < α ≤ 1.
        num_steps: Number of steps; each costs two evaluations.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "fractional-neural-ode"
    title = "Fractional neural ODE"
    group = "continuous"
    equation = "D^α h = f(h, t; θ), Caputo, 0 < α ≤ 1"
    reference = "Coelho et al. 2024, Neural Fractional Differential Equations"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        alpha: float = 0.8,
        num_steps: int = 16,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        scheme = CaputoPECE(alpha, num_steps=num_steps)

        def make(stage: Stage) -> FractionalDynamics:
            field = stage.field(stage.channels, time_dependent=time_dependent)
            return FractionalDynamics(field, scheme, t1, stage.channels)

        super().__init__(spec, make, channels=channels, **kwargs)
        self._scheme = scheme

    def describe_solver(self) -> tuple[str, str]:
        """The scheme in a few words, and backprop."""
        return self._scheme.describe(), "backprop"
