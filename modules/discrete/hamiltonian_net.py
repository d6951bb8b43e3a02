"""Hamiltonian reversible network (Chang et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .layers import Activation, SymmetricLayer
from .reversible import Coupling
from .revnet import HalvesDynamics


class HamiltonianDynamics(HalvesDynamics):
    """Y_{j+1} = Y_j + h K₁ᵀσ(K₁Z_j + b₁), Z_{j+1} = Z_j − h K₂ᵀσ(K₂Y_{j+1} + b₂).

    The symplectic Euler (Verlet) method on H = Σ S(K₁Z + b₁) + Σ S(K₂Y + b₂) with S′ = σ.

    Args:
        channels: Channels of the hidden state [Y; Z], even.
        blocks: Number of steps, 1 or more.
        h: Step size.
        activation: σ.
        norm: Whether the layers normalise K y; the map is then reversible, but no longer symplectic.
        reversible_backward: See `ReversibleDynamics`.
        axes: Axes of a state behind its channels.
    """

    scheme = "verlet"

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
        self.of_z = nn.ModuleList(SymmetricLayer(self.width, activation, norm, axes) for _ in range(blocks))
        self.of_y = nn.ModuleList(SymmetricLayer(self.width, activation, norm, axes) for _ in range(blocks))
        self.check_reversible(axes)

    def residuals(self) -> list[nn.Module]:
        """The layers of Z and those of Y."""
        return [*self.of_z, *self.of_y]

    def couplings(self, n: int) -> Sequence[Coupling]:
        """Y moves by Z, then Z against the new Y."""
        return Coupling(0, self.of_z[n], scale=self.h), Coupling(1, self.of_y[n], scale=-self.h)


class HamiltonianNet(BenchFamily):
    """Hamiltonian network: symplectic steps on the two halves of the channels.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state, even; each layer sees half of them.
        blocks: Number of Verlet steps, of two layers each.
        h: Step size.
        activation: Activation σ, `relu` or `tanh`.
        norm: Whether the layers normalise K y; the map is then reversible, but no longer symplectic.
        reversible_backward: Whether the backward pass recomputes the activations from the output.
        **kwargs: See `BenchFamily`.
    """

    family = "hamiltonian-net"
    title = "Hamiltonian reversible net"
    group = "discrete"
    equation = "Y_{j+1} = Y_j + h K₁ᵀσ(K₁Z_j + b₁), Z_{j+1} = Z_j − h K₂ᵀσ(K₂Y_{j+1} + b₂)"
    reference = "Chang et al. 2018, Reversible Architectures for Arbitrarily Deep Residual Neural Networks"
    reversible = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 4,
        h: float = 1.0,
        activation: Activation = "relu",
        norm: bool = False,
        reversible_backward: bool = True,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> HamiltonianDynamics:
            n = stage.blocks(blocks)
            return HamiltonianDynamics(
                stage.channels, n, h, activation, norm, reversible_backward, stage.axes
            )

        super().__init__(spec, make, channels=channels, **kwargs)
