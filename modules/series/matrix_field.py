"""The field of a controlled equation as a perceptron."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from .perceptron import perceptron


class MatrixField(nn.Module):
    """f(z), a matrix with a column for each channel of the control, every entry in (-1, 1).

    SiLU in place of the paper's ReLU: solvers of high order need a smooth field.

    Args:
        channels: Length of z.
        columns: Channels of the control.
        hidden: Width of the hidden layers.
        depth: Number of hidden layers.
        activation: Makes what stands behind each hidden layer.
    """

    def __init__(
        self,
        channels: int,
        columns: int,
        hidden: int,
        depth: int,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.columns = columns
        # without the tanh states run away over long series (Kidger et al. 2020, appendix)
        self.net = perceptron(channels, hidden, channels * columns, depth, activation, nn.Tanh)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """From z of shape (batch, channels) to (batch, channels, columns); the same at all times t."""
        value: Tensor = self.net(z)
        return value.view(*z.shape, self.columns)
