"""The part of a network that differs between families: hidden state in, trajectory out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from integrand.solvers import ODESolver, Solution

Composition = Literal["none", "linear", "stages", "field", "recomputed"]
"""How evaluations make up the map, which decides where noise can enter.

`linear`: each evaluation enters one step, and linearly: x_{n+1} = … + c f_n(x_n). `stages`: several
evaluations act on each other inside a step x_{n+1} = x_n + Δ_n(x_n). `field`: `solver` places the
evaluations. `recomputed`: the backward pass repeats them. `none`: none of these, and noise is refused.
"""


class Dynamics(nn.Module):
    """Moves the hidden state h(0) to the state that the head reads.

    Attributes:
        out_channels: Channels of the state that the head reads.
        solver: What integrates the field, None for nets that are their own scheme.
        composition: How evaluations make up the map; see `Composition`. `linear` and `stages` dynamics have
            the attributes `blocks` and `h`, number and size of the steps.
        first_order: Whether a step is one of ẋ = f, x_{n+1} = … ± h f(x_n), so that noise in the state has a
            meaning; not so where a velocity or a second half is carried along.
        repeats: Whether one pass evaluates a residual function more than once, as solvers do: batch
            statistics would be updated as often.
        on_step: Called as `on_step(n, before, after)` after step n of `stages` dynamics; returns what takes
            the place of `after`.
    """

    out_channels: int
    solver: ODESolver | None = None
    composition: Composition = "none"
    blocks: int
    h: float
    first_order: bool = False
    repeats: bool = False
    on_step: Callable[[int, Tensor, Tensor], Tensor] | None = None

    @abstractmethod
    def residuals(self) -> list[nn.Module]:
        """The residual functions or fields: every call of one of them is one function evaluation."""

    @abstractmethod
    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve from the stem's output.

        Args:
            h: Hidden state, shape (batch, channels, …).
            num_times: Number of equally spaced output times, both ends included. Discrete nets return every
                layer when it exceeds 2.

        Returns:
            Solution with ys of shape (n_t, batch, out_channels, …); the head reads ys[-1].
        """
