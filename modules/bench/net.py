"""Stem, dynamics and head as one plain network."""

from __future__ import annotations

from torch import Tensor, nn

from integrand.errors import SpecError
from integrand.solvers import Solution
from integrand.spec import Spec

from .dynamics import Dynamics


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

    def trajectory(self, x: Tensor, num_times: int) -> Solution:
        """The solution with `num_times` output times, for figures."""
        solution: Solution = self.dynamics(self.stem(x), num_times)
        return solution


def check_inputs(x: Tensor, spec: Spec) -> None:
    """Raise unless a batch has the shape that the data set declared.

    Raises:
        SpecError: The shape without the batch dimension is another one.
    """
    if tuple(x.shape[1:]) != spec.input_shape:
        raise SpecError(
            f"batch of shape {tuple(x.shape)} contradicts the spec of {spec.name}: expected (batch, "
            f"{', '.join(map(str, spec.input_shape))})",
            "give the model the data set that it was built for",
        )
