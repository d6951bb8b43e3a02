"""Parabolic convolutional network (Ruthotto & Haber 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from integrand.spec import Spec

from ..bench import Stage
from .layers import Activation, SymmetricLayer
from .smoothness import SmoothInTime
from .stepping import Evaluator, State, SteppedDynamics


class ParabolicDynamics(SteppedDynamics):
    """Y_{j+1} = Y_j − h K_jᵀσ(N(K_jY_j) + b_j), forward Euler on a nonlinear heat equation.

    Without N a step with h ≤ 2/‖K_j‖² moves no two states apart.

    Args:
        channels: Channels of the hidden state.
        blocks: Number of steps, 1 or more.
        h: Step size.
        activation: σ.
        norm: Whether N is group normalisation; the identity otherwise.
        axes: Axes of a state behind its channels.
    """

    scheme = "euler"
    composition = "linear"
    first_order = True

    def __init__(
        self, channels: int, blocks: int, h: float, activation: Activation, norm: bool, axes: int = 2
    ) -> None:
        super().__init__(channels, blocks, h)
        self.fields = nn.ModuleList(SymmetricLayer(channels, activation, norm, axes) for _ in range(blocks))

    def residuals(self) -> list[nn.Module]:
        """The layer of every step."""
        return list(self.fields)

    def step(self, n: int, state: State, f: Evaluator) -> State:
        """One Euler step against the gradient."""
        (y,) = state
        return (torch.sub(y, f(self.fields[n], y), alpha=self.h),)


class ParabolicCNN(SmoothInTime):
    """Parabolic network: the state diffuses through symmetric layers, whose weights change smoothly in time.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of steps, of one layer each.
        h: Step size.
        activation: Activation σ, `relu` or `tanh`.
        norm: Whether the layers normalise K y; without it a step with h ≤ 2/‖K‖² is non-expansive.
        smoothness: Weight α of (α/2h) Σ‖θ_{j+1} − θ_j‖² in the training loss; 0 takes it out.
        **kwargs: See `BenchFamily`.
    """

    family = "parabolic-cnn"
    title = "Parabolic CNN"
    group = "discrete"
    equation = "Y_{j+1} = Y_j − h K_jᵀσ(N(K_jY_j) + b_j)"
    reference = "Ruthotto & Haber 2020, Deep Neural Networks Motivated by Partial Differential Equations"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 8,
        h: float = 0.5,
        activation: Activation = "relu",
        norm: bool = True,
        smoothness: float = 1e-4,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ParabolicDynamics:
            n = stage.blocks(blocks)
            return ParabolicDynamics(stage.channels, n, h, activation, norm, stage.axes)

        super().__init__(spec, make, channels=channels, smoothness=smoothness, **kwargs)
