"""The part of a network that differs between families: hidden state in, trajectory out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import ODESolver, Solution, SolveStats

from .accounts import StagedStats

Composition = Literal["none", "linear", "stages", "field", "recomputed"]
"""How evaluations make up the map, which decides where noise can enter.

`linear`: each evaluation enters one step, and linearly: x_{n+1} = … + c f_n(x_n). `stages`: several
evaluations act on each other inside a step x_{n+1} = x_n + Δ_n(x_n). `field`: `solver` places the
evaluations. `recomputed`: the backward pass repeats them. `none`: none of these, and noise is refused.
"""


Reach = Literal["steps", "common", "own"]
"""Which times a state can be followed to: those of equal `steps`, as a map that is repeated, any that the
samples have in `common`, or any of each sample's `own`."""


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
        reaches: Which times `along` goes to; see `Reach`.
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
    reaches: ClassVar[Reach] = "steps"
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

    def along(self, h: Tensor, times: Tensor) -> Solution:
        """Follow the hidden state from the first time through all others.

        By default the whole map is applied once from each time to the next, which makes it the map of one
        step of sampling.

        Args:
            h: Hidden state at the first time, shape (batch, channels, …).
            times: Shape (n,), increasing, float64; or (batch, n), never decreasing, of each sample's own
                where it reaches those.

        Returns:
            Solution with ys of shape (n, batch, out_channels, …).

        Raises:
            UsageError: What comes out of the map cannot go in again.
        """
        stats, states = StagedStats(), [h]
        for _ in range(times.shape[-1] - 1):
            solution = self(states[-1])
            stats.add(solution.stats)
            states.append(solution.ys[-1])
            if states[-1].shape != h.shape:
                raise UsageError(
                    f"the map of {type(self).__name__} takes {h.shape[1]} channels to {states[-1].shape[1]}, "
                    "and cannot be repeated",
                    "choose a family that keeps its channels",
                )
        stats.solver = f"{stats.parts[0].solver if stats.parts else 'map'}, one step of sampling each"
        return Solution(times, torch.stack(states), stats)

    @property
    def gives_rate(self) -> bool:
        """Whether `rate` knows dh/dt of the state that it is given."""
        return False

    def rate(self, t: Tensor, h: Tensor) -> tuple[Tensor, SolveStats]:
        """dh/dt at one moment, and the account of its one evaluation.

        Args:
            t: The time, 0-d or of shape (batch, 1).
            h: State, shape (batch, channels, …).

        Raises:
            UsageError: It is no equation for the rate of the state that it is given.
        """
        raise UsageError(
            f"{type(self).__name__} has no rate of the observed state to compare with",
            "train on values: set data.learn to values",
        )
