"""Leapfrog network (Chang et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .layers import Activation, SymmetricLayer
from .midpoint_net import TwoStepDynamics
from .reversible import Coupling


class LeapfrogDynamics(TwoStepDynamics):
    """Y_{j+1} = 2Y_j − Y_{j−1} − h² K_jᵀσ(K_jY_j + b_j), started at rest: Y_{−1} = Y₀.

    The leapfrog method on the second-order equation Ÿ = −Kᵀσ(KY + b).

    Args:
        channels: Channels of the hidden state.
        blocks: Number of steps, 1 or more.
        h: Step size.
        activation: σ.
        norm: Whether the layers normalise K y.
        reversible_backward: See `ReversibleDynamics`.
        axes: Axes of a state behind its channels.
    """

    scheme = "leapfrog"

    def __init__(
        self,
        channels: int,
        blocks: int,
        h: float,
        activation: Activation,
        norm: bool,
        reversible_backward: bool,
        axes: int = 2,
    ) -> None:
        super().__init__(channels, blocks, h, reversible_backward)
        self.fields = nn.ModuleList(SymmetricLayer(channels, activation, norm, axes) for _ in range(blocks))
        self.check_reversible(axes)

    def residuals(self) -> list[nn.Module]:
        """The layer of every step."""
        return list(self.fields)

    def couplings(self, n: int) -> Sequence[Coupling]:
        """The older state becomes the mirror image of itself in the newer one, less h² f."""
        return (Coupling(n % 2, self.fields[n], keep=-1.0, mix=2.0, scale=-(self.h**2)),)


class LeapfrogNet(BenchFamily):
    """Leapfrog network: a second-order equation with symmetric layers, started at rest.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of steps, of one layer each.
        h: Step size.
        activation: Activation σ, `relu` or `tanh`.
        reversible_backward: Whether the backward pass recomputes the activations from the output.
        **kwargs: See `BenchFamily`.
    """

    family = "leapfrog-net"
    title = "Leapfrog net"
    group = "discrete"
    equation = "Y_{j+1} = 2Y_j − Y_{j−1} − h² K_jᵀσ(K_jY_j + b_j), Y_{−1} = Y₀"
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
        def make(stage: Stage) -> LeapfrogDynamics:
            n = stage.blocks(blocks)
            return LeapfrogDynamics(stage.channels, n, h, activation, False, reversible_backward, stage.axes)

        super().__init__(spec, make, channels=channels, **kwargs)
