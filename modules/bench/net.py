"""Stem, dynamics and head as one plain network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from integrand.errors import SpecError
from integrand.series import Series
from integrand.solvers import Solution, SolveStats
from integrand.spec import SeriesSpec, Spec
from integrand.tasks.base import VectorField

from .dynamics import Dynamics


class LastObservation(nn.Module):
    """The values of the last observation given: the state itself, where it is observed whole."""

    def forward(self, x: Series) -> Tensor:
        """Shape (batch, channels)."""
        return x.last


class BenchNet(nn.Module):
    """Input → stem → dynamics → head → outputs.

    Args:
        stem: Input to hidden state.
        dynamics: Hidden state to final state.
        head: Final state to outputs.
    """

    def __init__(self, stem: nn.Module, dynamics: Dynamics, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.dynamics = dynamics
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Solution]:
        """Outputs of a batch and the solve that led to them.

        Args:
            x: Inputs, shape (batch, …).

        Returns:
            Outputs of shape (batch, outputs) and the solution of the dynamics.
        """
        solution = self.dynamics(self.stem(x))
        return self.head(solution.ys[-1]), solution

    def forecast(self, x: Series, times: Tensor, common: bool) -> tuple[Tensor, Solution]:
        """Values at later times.

        Args:
            x: What is given.
            times: Shape (batch, n), float64, never decreasing, none before the last time given.
            common: Whether all samples have the same times, counted from their last observation.

        Returns:
            Values of shape (batch, n, channels) and the solution of the dynamics.
        """
        whole = torch.cat([x.end[:, None], times], dim=1)
        if common:
            # the longest: others repeat their last time behind their end
            whole = whole - whole[:, :1]
            whole = whole[whole[:, -1].argmax()]
        solution = self.dynamics.along(self.stem(x), whole)
        states = solution.ys[1:].transpose(0, 1)
        said: Tensor = self.head(states.flatten(0, 1))
        return said.view(*states.shape[:2], -1), solution

    def rate(self, x: Series) -> tuple[Tensor, SolveStats]:
        """dx/dt at the observation given, shape (batch, channels), and the account of its evaluation."""
        return self.dynamics.rate(x.end[:, None], self.stem(x))

    def vector_field(self) -> VectorField | None:
        """dx/dt at time 0 of observations (n, channels) that are the state itself; None where none is."""
        if not isinstance(self.stem, LastObservation) or not self.dynamics.gives_rate:
            return None

        def field(x: Tensor) -> Tensor:
            like = next(self.parameters(), x)
            return self.dynamics.rate(like.new_zeros(()), x.to(like))[0]

        return field

    def trajectory(self, x: Tensor, num_times: int) -> Solution:
        """The solution with `num_times` output times, for figures."""
        solution: Solution = self.dynamics(self.stem(x), num_times)
        return solution


def check_series(x: Series, spec: SeriesSpec) -> None:
    """Raise unless a batch has the channels that the data set declared.

    Raises:
        SpecError: It has others, or other numbers known of each series as a whole.
    """
    if x.values.shape[-1] != spec.channels or x.static.shape[-1] != spec.static:
        raise SpecError(
            f"series of {x.values.shape[-1]} channels and {x.static.shape[-1]} static numbers contradict the "
            f"spec of {spec.name}, which has {spec.channels} and {spec.static}",
            "give the model the data set that it was built for",
        )


def check_inputs(x: Tensor | Series, spec: Spec) -> None:
    """Raise unless a batch has the shape that the data set declared.

    Raises:
        SpecError: The shape without the batch dimension is another one.
    """
    if isinstance(x, Series):
        assert isinstance(spec, SeriesSpec)
        check_series(x, spec)
        return
    if tuple(x.shape[1:]) != spec.input_shape:
        raise SpecError(
            f"batch of shape {tuple(x.shape)} contradicts the spec of {spec.name}: expected (batch, "
            f"{', '.join(map(str, spec.input_shape))})",
            "give the model the data set that it was built for",
        )
