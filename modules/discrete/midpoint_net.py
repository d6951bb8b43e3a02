"""Midpoint network with antisymmetric layers (Chang et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .layers import Activation, AntisymmetricLayer
from .reversible import Coupling, ReversibleDynamics
from .stepping import State


class TwoStepDynamics(ReversibleDynamics):
    """Two-step methods: the older of the two states kept is overwritten by the new one.

    The pair starts as (Y₀, Y₀); step n overwrites map n mod 2.
    """

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden state twice."""
        return x, x

    def read(self, n: int, state: State) -> Tensor:
        """The newest state Y_n."""
        return state[(n - 1) % 2]


class MidpointDynamics(TwoStepDynamics):
    """Y_{j+1} = Y_{j−1} + 2h σ((K_j − K_jᵀ) Y_j + b_j), started by Y₁ = Y₀ + h σ(…), one Euler step.

    Args:
        channels: Channels of the hidden state.
        blocks: Number of steps, 1 or more.
        h: Step size.
        activation: σ.
        reversible_backward: See `ReversibleDynamics`.
        axes: Axes of a state behind its channels.
    """

    scheme = "explicit midpoint, two-step"

    def __init__(
        self,
        channels: int,
        blocks: int,
        h: float,
        activation: Activation,
        reversible_backward: bool,
        axes: int = 2,
    ) -> None:
        super().__init__(channels, blocks, h, reversible_backward)
        self.fields = nn.ModuleList(
            AntisymmetricLayer(channels, activation, axes=axes) for _ in range(blocks)
        )
        self.check_reversible(axes)

    def residuals(self) -> list[nn.Module]:
        """The layer of every step."""
        return list(self.fields)

    def couplings(self, n: int) -> Sequence[Coupling]:
        """The older state moves by twice the step from the newer one; once in the first step."""
        return (Coupling(n % 2, self.fields[n], scale=2 * self.h if n else self.h),)


class MidpointNet(BenchFamily):
    """Midpoint network: the two-step midpoint rule on layers with imaginary spectrum.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of steps, of one layer each.
        h: Step size.
        activation: Activation σ, `relu` or `tanh`.
        reversible_backward: Whether the backward pass recomputes the activations from the output.
        **kwargs: See `BenchFamily`.
    """

    family = "midpoint-net"
    title = "Midpoint net"
    group = "discrete"
    equation = "Y_{j+1} = Y_{j−1} + 2h σ((K_j − K_jᵀ) Y_j + b_j)"
    reference = "Chang et al. 2018, Reversible Architectures for Arbitrarily Deep Residual Neural Networks"
    reversible = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 8,
        h: float = 0.5,
        activation: Activation = "relu",
        reversible_backward: bool = True,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> MidpointDynamics:
            n = stage.blocks(blocks)
            return MidpointDynamics(stage.channels, n, h, activation, reversible_backward, stage.axes)

        super().__init__(spec, make, channels=channels, **kwargs)
