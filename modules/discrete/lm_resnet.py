"""Linear multi-step residual network (Lu et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..bench import BenchFamily, FieldMaker, Stage
from .stepping import Evaluator, State, SteppedDynamics


class LinearMultistepDynamics(SteppedDynamics):
    """u_{n+1} = (1 − k_n) u_n + k_n u_{n−1} + h f_n(u_n), with k_n learned; the first block has k = 0.

    The equation of which it is a first-order scheme is (1 + k)u̇ + (1 − k)(h/2)ü = f. Its characteristic roots
    for f = 0 are 1 and −k, so that |k| < 1 keeps it stable.

    Args:
        channels: Channels of the hidden state.
        blocks: Number of blocks, 1 or more.
        k_low: Lower end of the uniform distribution that every k_n starts from.
        k_high: Upper end.
        h: Step size.
        field: Makes the residual functions.

    Raises:
        UsageError: The ends are not ordered, or outside (−1, 1).
    """

    scheme = "linear two-step"
    composition = "linear"
    first_order = True

    def __init__(
        self,
        channels: int,
        blocks: int,
        k_low: float,
        k_high: float,
        h: float,
        field: FieldMaker,
    ) -> None:
        super().__init__(channels, blocks, h)
        if not -1 < k_low <= k_high < 1:
            raise UsageError(
                f"k must start between -1 < k_low ≤ k_high < 1, got k_low={k_low}, k_high={k_high}",
                "set model.k_low and model.k_high; the authors start from -0.1 to 0",
            )
        self.fields = nn.ModuleList(field(channels) for _ in range(blocks))
        self.k = nn.Parameter(torch.empty(blocks - 1).uniform_(k_low, k_high)) if blocks > 1 else None

    def residuals(self) -> list[nn.Module]:
        """The residual function of every block."""
        return list(self.fields)

    def start(self, x: Tensor) -> State:
        """The hidden state, without a predecessor."""
        return (x,)

    def step(self, n: int, state: State, f: Evaluator) -> State:
        """One block: the state and its predecessor; see the class."""
        u = state[0]
        new = torch.add(u, f(self.fields[n], u), alpha=self.h)
        if self.k is not None and n:
            new = new + self.k[n - 1] * (state[1] - u)
        return new, u


class LMResNet(BenchFamily):
    """Linear multi-step residual network: each block also looks back at the state before the last.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        blocks: Number of blocks.
        k_low: Lower end of the uniform distribution that every k_n starts from; 0 with k_high 0 starts from
            the residual network.
        k_high: Upper end.
        h: Step size in front of the residual function.
        **kwargs: See `BenchFamily`.
    """

    family = "lm-resnet"
    title = "LM-ResNet (linear multi-step)"
    group = "discrete"
    equation = "u_{n+1} = (1 − k_n) u_n + k_n u_{n−1} + h f(u_n; w_n)"
    reference = "Lu et al. 2018, Beyond Finite Layer Neural Networks"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        blocks: int = 4,
        k_low: float = -0.1,
        k_high: float = 0.0,
        h: float = 1.0,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> LinearMultistepDynamics:
            n = stage.blocks(blocks)
            return LinearMultistepDynamics(stage.channels, n, k_low, k_high, h, stage.field)

        super().__init__(spec, make, channels=channels, **kwargs)
