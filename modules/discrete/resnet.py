"""Pre-activation residual network: forward Euler with one step per block (He et al. 2016)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import EulerScheme, Solution
from integrand.spec import Spec

from ..bench import BenchFamily, Dynamics, FieldMaker, Stage


class ResidualDynamics(Dynamics):
    """x_{n+1} = x_n + h f(x_n; w_n), n = 0 … N−1.

    Args:
        channels: Channels of the hidden state.
        blocks: Number N of blocks, 1 or more.
        h: Step size.
        tied: Whether all blocks share their weights: Euler's method on one autonomous ODE.
        field: Makes the residual functions.

    Raises:
        UsageError: blocks is below 1 or h is not positive.
    """

    composition = "linear"
    first_order = True

    def __init__(self, channels: int, blocks: int, h: float, tied: bool, field: FieldMaker) -> None:
        super().__init__()
        if blocks < 1:
            raise UsageError(f"blocks must be at least 1, got {blocks}", "set model.blocks, or use NoBlock")
        if not h > 0:
            raise UsageError(f"h must be positive, got {h}", "set model.h, the step size")
        self.out_channels = channels
        self.blocks = blocks
        self.h = h
        self.repeats = tied and blocks > 1
        self.fields = nn.ModuleList(field(channels) for _ in range(1 if tied else blocks))
        self.last_only, self.every_block = EulerScheme(h), EulerScheme(h, keep_all=True)

    def residuals(self) -> list[nn.Module]:
        """The residual function of every block; one if they are tied."""
        return list(self.fields)

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Apply every block; see `Dynamics.forward`."""
        fields = [self.fields[n % len(self.fields)] for n in range(self.blocks)]
        return (self.every_block if num_times > 2 else self.last_only).solve(fields, h)


class ResNet(BenchFamily):
    """Pre-activation residual network, read as forward Euler with step h.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of residual blocks.
        h: Step size in front of the residual function.
        tied: Whether all blocks share their weights.
        **kwargs: See `BenchFamily`.
    """

    family = "resnet"
    title = "ResNet (forward Euler)"
    group = "discrete"
    equation = "x_{n+1} = x_n + h f(x_n; w_n)"
    reference = "He et al. 2016, Identity Mappings in Deep Residual Networks, fig. 1b"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 4,
        h: float = 1.0,
        tied: bool = False,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ResidualDynamics:
            return ResidualDynamics(stage.channels, stage.blocks(blocks), h, tied, stage.field)

        super().__init__(spec, make, channels=channels, **kwargs)
