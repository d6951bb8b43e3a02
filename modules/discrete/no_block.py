"""The control arm: stem and head with nothing between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.solvers import Solution, SolveStats
from integrand.spec import Classes, Spec, Targets

from ..bench import BenchFamily, Dynamics


class IdentityDynamics(Dynamics):
    """h(t) = h(0): no evaluation, no parameter.

    Args:
        channels: Channels of the hidden state.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def residuals(self) -> list[nn.Module]:
        """None: nothing is evaluated."""
        return []

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """The stem's output at every time; see `Dynamics.forward`."""
        ts = torch.linspace(0, 1, num_times, dtype=torch.float64)
        return Solution(
            ts, h.expand(num_times, *h.shape), SolveStats(solver="identity", accepted=0, rejected=0)
        )


class NoBlock(BenchFamily):
    """Control arm: the shared stem and head without any block, to show what the block is worth.

    On MNIST the ODE-Net of Chen et al. 2018 stays under 0.6 % error with its ODE block removed (torchdiffeq
    issue 32), so a table without this arm proves little.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        **kwargs: See `BenchFamily`.
    """

    family = "no-block"
    title = "No block (control)"
    group = "control"
    equation = "ḣ = 0"
    reference = "torchdiffeq issue 32"
    answers = (Classes, Targets)  # a state that nothing moves forecasts nothing
    staged = False  # the blocks of the layout would be what it is to show the worth of

    def __init__(self, spec: Spec, channels: int | None = None, **kwargs: Any) -> None:
        super().__init__(spec, lambda s: IdentityDynamics(s.channels), channels=channels, **kwargs)
