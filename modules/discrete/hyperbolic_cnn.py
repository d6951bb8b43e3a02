"""Hyperbolic convolutional network (Ruthotto & Haber 2020)."""

from __future__ import annotations

from typing import Any, Literal

from integrand.spec import Spec

from ..bench import Stage
from .hamiltonian_net import HamiltonianDynamics
from .layers import Activation
from .leapfrog_net import LeapfrogDynamics
from .smoothness import SmoothInTime
from .stepping import require_variant

Form = Literal["leapfrog", "hamiltonian"]


class HyperbolicCNN(SmoothInTime):
    """Hyperbolic network: the state moves in waves through symmetric layers, weights smooth in time.

    It is the leapfrog or the Hamiltonian net with normalised layers and the regulariser of the PDE networks.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; even for `hamiltonian`.
        blocks: Number of steps, of one layer (`leapfrog`) or two (`hamiltonian`).
        form: `leapfrog` for the second-order equation, `hamiltonian` for the first-order system.
        h: Step size.
        activation: Activation σ, `relu` or `tanh`.
        norm: Whether the layers normalise K y.
        smoothness: Weight α of (α/2h) Σ‖θ_{j+1} − θ_j‖² in the training loss; 0 takes it out.
        reversible_backward: Whether the backward pass recomputes the activations from the output.
        **kwargs: See `BenchFamily`.
    """

    family = "hyperbolic-cnn"
    title = "Hyperbolic CNN"
    group = "discrete"
    equation = "Y_{j+1} = 2Y_j − Y_{j−1} − h² K_jᵀσ(N(K_jY_j) + b_j)"
    reference = "Ruthotto & Haber 2020, Deep Neural Networks Motivated by Partial Differential Equations"
    reversible = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 8,
        form: Form = "leapfrog",
        h: float = 0.5,
        activation: Activation = "relu",
        norm: bool = True,
        smoothness: float = 1e-4,
        reversible_backward: bool = True,
        **kwargs: Any,
    ) -> None:
        require_variant("form", form, Form)
        kind = LeapfrogDynamics if form == "leapfrog" else HamiltonianDynamics

        def make(stage: Stage) -> LeapfrogDynamics | HamiltonianDynamics:
            n = stage.blocks(blocks)
            return kind(stage.channels, n, h, activation, norm, reversible_backward, stage.axes)

        super().__init__(spec, make, channels=channels, smoothness=smoothness, **kwargs)
