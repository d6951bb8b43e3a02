"""Antisymmetric network: Euler steps on damped antisymmetric layers (Haber & Ruthotto 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .layers import Activation, AntisymmetricLayer
from .stepping import Evaluator, State, SteppedDynamics


class AntisymmetricDynamics(SteppedDynamics):
    """Y_{j+1} = Y_j + h σ((K_j − K_jᵀ − γI) Y_j + b_j).

    Args:
        channels: Channels of the hidden state.
        blocks: Number of steps, 1 or more.
        h: Step size.
        gamma: Damping γ, 0 or more.
        activation: σ.
        axes: Axes of a state behind its channels.

    Raises:
        UsageError: gamma is negative.
    """

    scheme = "euler"
    composition = "linear"
    first_order = True

    def __init__(
        self, channels: int, blocks: int, h: float, gamma: float, activation: Activation, axes: int = 2
    ) -> None:
        super().__init__(channels, blocks, h)
        if not gamma >= 0:
            raise UsageError(f"gamma must be 0 or more, got {gamma}", "set model.gamma, the damping")
        self.fields = nn.ModuleList(
            AntisymmetricLayer(channels, activation, gamma, axes) for _ in range(blocks)
        )

    def residuals(self) -> list[nn.Module]:
        """The layer of every step."""
        return list(self.fields)

    def step(self, n: int, state: State, f: Evaluator) -> State:
        """One Euler step."""
        (y,) = state
        return (torch.add(y, f(self.fields[n], y), alpha=self.h),)


class AntisymmetricNet(BenchFamily):
    """Antisymmetric network: forward Euler, kept stable by a small damping of the antisymmetric layers.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of steps, of one layer each.
        h: Step size.
        gamma: Damping γ, 0 or more; Euler's method on an undamped layer grows.
        activation: Activation σ, `relu` or `tanh`.
        **kwargs: See `BenchFamily`.
    """

    family = "antisymmetric-net"
    title = "Antisymmetric net (stable Euler)"
    group = "discrete"
    equation = "Y_{j+1} = Y_j + h σ((K_j − K_jᵀ − γI) Y_j + b_j)"
    reference = "Haber & Ruthotto 2017, Stable Architectures for Deep Neural Networks"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 8,
        h: float = 0.5,
        gamma: float = 0.1,
        activation: Activation = "relu",
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> AntisymmetricDynamics:
            n = stage.blocks(blocks)
            return AntisymmetricDynamics(stage.channels, n, h, gamma, activation, stage.axes)

        super().__init__(spec, make, channels=channels, **kwargs)
