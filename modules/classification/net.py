"""Stem, dynamics and head as one plain network."""

from __future__ import annotations

import math

from torch import Tensor, nn

from integrand.errors import SpecError, UsageError
from integrand.solvers import Solution

from .dynamics import Dynamics


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with one group.

    Not batch statistics: an adaptive solver would update them once per evaluation, rejected steps and
    backward solves included. Not several groups: augmented channels start at exactly zero, and on a group of
    zeros the derivative of the norm is 1/√ε ≈ 316, which makes the field stiff at t = 0.
    """
    return nn.GroupNorm(1, channels)


def halvings(height: int, width: int, target: int = 8) -> int:
    """How many stride-2 convolutions bring the longer side down to `target`: 2 for 28 and 32, 0 for 8."""
    return max(0, math.ceil(math.log2(max(height, width) / target)))


def check_channels(channels: int) -> int:
    """`channels`, if it is a possible width.

    Raises:
        UsageError: It is below 1.
    """
    if channels < 1:
        raise UsageError(f"channels must be at least 1, got {channels}", "set model.channels")
    return channels


class Stem(nn.Sequential):
    """3×3 convolutions from the image to the hidden state, halving the side as often as asked.

    Args:
        in_channels: Channels of the image.
        channels: Channels of the hidden state.
        downsample: Number of stride-2 convolutions; with 0 one convolution of stride 1.
    """

    def __init__(self, in_channels: int, channels: int, downsample: int) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 3, stride=2 if downsample else 1, padding=1)
        ]
        for _ in range(downsample - 1):
            layers += [
                group_norm(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            ]
        super().__init__(*layers)


class Head(nn.Sequential):
    """Group norm, ReLU, mean over space, linear: the end of a pre-activation net.

    Args:
        channels: Channels of the final state.
        num_classes: Number of classes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(
            group_norm(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, num_classes),
        )


class ClassifierNet(nn.Module):
    """Image → stem → dynamics → head → logits.

    Args:
        stem: Image to hidden state.
        dynamics: Hidden state to final state.
        head: Final state to logits.
    """

    def __init__(self, stem: nn.Module, dynamics: Dynamics, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.dynamics = dynamics
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Solution]:
        """Logits of a batch and the solve that led to them.

        Args:
            x: Images, shape (batch, channels, height, width).

        Returns:
            Logits of shape (batch, num_classes) and the solution of the dynamics.
        """
        solution = self.dynamics(self.stem(x))
        return self.head(solution.ys[-1]), solution

    def trajectory(self, x: Tensor, num_times: int) -> Solution:
        """The solution with `num_times` output times, for figures."""
        solution: Solution = self.dynamics(self.stem(x), num_times)
        return solution


def check_images(x: Tensor, input_shape: tuple[int, ...], name: str) -> None:
    """Raise unless a batch has the shape that the data set declared.

    Raises:
        SpecError: The shape without the batch dimension differs from `input_shape`.
    """
    if tuple(x.shape[1:]) != input_shape:
        raise SpecError(
            f"batch of shape {tuple(x.shape)} contradicts the spec of {name}: expected (batch, "
            f"{', '.join(map(str, input_shape))})",
            "give the model the data set that it was built for",
        )
