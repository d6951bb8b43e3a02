"""Momentum residual network (Sander et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..bench import BenchFamily, FieldMaker, Stage
from ..bench.linear import linear_map
from .reversible import Coupling, ReversibleDynamics
from .stepping import State, require_variant

Velocity = Literal["zero", "learned"]

MOST_BITS_LOST = 12
"""Of the 24 bits of a float32, how many the inverse may lose: log₂(1/γ) for each block."""


class MomentumDynamics(ReversibleDynamics):
    """v_{n+1} = γ v_n + (1 − γ) f_n(x_n), x_{n+1} = x_n + v_{n+1}.

    The inverse is x_n = x_{n+1} − v_{n+1}, v_n = (v_{n+1} − (1 − γ) f_n(x_n)) / γ; each division by γ shifts
    log₂(1/γ) bits of round-off into the digits that count.

    Args:
        channels: Channels of the hidden state.
        blocks: Number of blocks, 1 or more.
        gamma: Momentum γ, 0 ≤ γ < 1.
        velocity: Where v₀ comes from: `zero`, or `learned` from x₀ by a 3×3 convolution.
        reversible_backward: See `ReversibleDynamics`.
        field: Makes the residual functions.
        axes: Axes of a state behind its channels.

    Raises:
        UsageError: gamma is outside its domain, or so small that the inverse would lose the state.
    """

    scheme = "momentum"

    def __init__(
        self,
        channels: int,
        blocks: int,
        gamma: float,
        velocity: Velocity,
        reversible_backward: bool,
        field: FieldMaker,
        axes: int = 2,
    ) -> None:
        super().__init__(channels, blocks, reversible_backward=reversible_backward)
        if not 0 <= gamma < 1:
            raise UsageError(
                f"gamma must satisfy 0 ≤ gamma < 1, got {gamma}",
                "set model.gamma; 0 is the residual network, and at 1 no block would act",
            )
        require_variant("velocity", velocity, Velocity)
        self.gamma = gamma
        if reversible_backward and gamma > 0 and blocks * math.log2(1 / gamma) > MOST_BITS_LOST:
            raise UsageError(
                f"inverting {blocks} blocks at gamma={gamma} loses {blocks * math.log2(1 / gamma):.0f} bits "
                f"of each activation, more than {MOST_BITS_LOST}",
                f"raise model.gamma to {2 ** (-MOST_BITS_LOST / blocks):.3f} or more, "
                "or set model.reversible_backward to false",
            )
        self.fields = nn.ModuleList(field(channels) for _ in range(blocks))
        self.velocity = linear_map(channels, channels, axes) if velocity == "learned" else None
        self.check_reversible(axes)

    def residuals(self) -> list[nn.Module]:
        """The residual function of every block."""
        return list(self.fields)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Position and velocity."""
        return x, x.new_zeros(()).expand_as(x) if self.velocity is None else self.velocity(x)

    def couplings(self, n: int) -> Sequence[Coupling]:
        """The velocity moves by the position, then the position by the new velocity."""
        return (
            Coupling(1, self.fields[n], keep=self.gamma, scale=1 - self.gamma),
            Coupling(0, mix=1.0),
        )

    def read(self, n: int, state: State) -> Tensor:
        """The position."""
        return state[0]


class MomentumResNet(BenchFamily):
    """Momentum residual network: a residual network with inertia, which makes it invertible.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of blocks.
        gamma: Momentum γ, 0 ≤ γ < 1; 0 is the residual network.
        velocity: Where the first velocity comes from: `zero`, or `learned` from the hidden state.
        reversible_backward: Whether the backward pass recomputes the activations from the output.
        **kwargs: See `BenchFamily`.
    """

    family = "momentum-resnet"
    title = "Momentum ResNet"
    group = "discrete"
    equation = "v_{n+1} = γ v_n + (1 − γ) f(x_n; w_n), x_{n+1} = x_n + v_{n+1}"
    reference = "Sander et al. 2021, Momentum Residual Neural Networks"
    reversible = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 4,
        gamma: float = 0.9,
        velocity: Velocity = "zero",
        reversible_backward: bool = True,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> MomentumDynamics:
            n = stage.blocks(blocks)
            return MomentumDynamics(
                stage.channels, n, gamma, velocity, reversible_backward, stage.field, stage.axes
            )

        super().__init__(spec, make, channels=channels, **kwargs)
