"""The part of a classifier that differs between families: hidden state in, trajectory out."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from integrand.solvers import ODESolver, Solution


class Dynamics(nn.Module):
    """Moves the hidden state h(0) to the state that the head reads.

    Attributes:
        out_channels: Channels of the state that the head reads.
        solver: What integrates the field, None for nets that are their own scheme.
    """

    out_channels: int
    solver: ODESolver | None = None

    @abstractmethod
    def residuals(self) -> list[nn.Module]:
        """The residual functions or fields: every call of one of them is one function evaluation."""

    @abstractmethod
    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve from the stem's output.

        Args:
            h: Hidden state, shape (batch, channels, height, width).
            num_times: Number of equally spaced output times, both ends included. Discrete nets return every
                layer when it exceeds 2.

        Returns:
            Solution with ys of shape (n_t, batch, out_channels, height, width); the head reads ys[-1].
        """
