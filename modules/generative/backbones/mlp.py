"""A multilayer perceptron on points, with its Jacobian products in the same pass."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError

from .activations import ACTIVATIONS, Activation, advance, shifted
from .base import Backbone, TimeNet, check_sizes, time_column


class MLP(Backbone):
    """Fully connected layers; features of t are added before every activation.

    Args:
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        frequencies: The time enters as t, cos πkt and sin πkt with k up to this; 0 leaves t alone.
        activation: Smooth, because a solver differentiates what it integrates.
    """

    def __init__(
        self, hidden: int = 64, layers: int = 3, frequencies: int = 2, activation: Activation = "silu"
    ) -> None:
        check_sizes(hidden=hidden, layers=layers)
        if frequencies < 0:
            raise UsageError(
                f"frequencies must be 0 or more, got {frequencies}", "set model.backbone.frequencies"
            )
        if activation not in ACTIVATIONS:
            raise UsageError(f"no activation {activation!r}", f"choose from {', '.join(ACTIVATIONS)}")
        self.hidden, self.layers, self.frequencies, self.activation = hidden, layers, frequencies, activation

    def build(self, shape: tuple[int, ...], num_classes: int = 0) -> TimeNet:
        """See `Backbone.build`."""
        if len(shape) != 1:
            raise UsageError(f"an MLP takes points, not samples of shape {shape}", "choose Conv for images")
        return MLPNet(shape[0], self.hidden, self.layers, self.frequencies, self.activation, num_classes)


class MLPNet(TimeNet):
    """The network of `MLP`.

    Args:
        dim: Length of a sample.
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        frequencies: See `MLP`.
        activation: See `MLP`.
        num_classes: Number of classes to condition on; label `num_classes` is the unconditional model.
    """

    _angles: Tensor

    def __init__(
        self, dim: int, hidden: int, layers: int, frequencies: int, activation: Activation, num_classes: int
    ) -> None:
        super().__init__()
        widths = [dim] + [hidden] * layers
        # the bias of a hidden layer is part of the time's map
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.time = nn.Linear(1 + 2 * frequencies, hidden * layers)
        self.classes = nn.Embedding(num_classes + 1, hidden * layers) if num_classes else None
        self.last = nn.Linear(hidden, dim)
        self.activation = activation
        self.register_buffer("_angles", math.pi * torch.arange(1, frequencies + 1), persistent=False)

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Evaluate on points of shape (batch, dim); see `TimeNet.forward`."""
        value = ACTIVATIONS[self.activation].value
        for weight, shift in zip(self._weights(), self._shifts(t, y), strict=True):
            x = value(shifted(x, weight, shift))
        result: Tensor = self.last(x)
        return result

    def linearise(self, t: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Value and Jacobian products, both through the same layers; see `TimeNet.linearise`."""
        shifts = [*self._shifts(t, None), self.last.bias]
        first, *rest = self._weights()
        x, v = shifted(x, first, shifts[0]), F.linear(v, first)
        for weight, shift in zip([*rest, self.last.weight], shifts[1:], strict=True):
            x, v = advance(self.activation, x, v, weight, shift)
        return x, v

    def _weights(self) -> list[Tensor]:
        return [cast(nn.Linear, layer).weight for layer in self.layers]

    def _shifts(self, t: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        """What is added before each activation: (hidden,) or (batch, hidden) for every layer."""
        column = time_column(t).to(self.last.weight.dtype)
        angles = column * self._angles
        shift = self.time(torch.cat([column, torch.cos(angles), torch.sin(angles)], dim=1))
        if self.classes is not None:
            label = torch.as_tensor(self.classes.num_embeddings - 1, device=shift.device) if y is None else y
            shift = shift + self.classes(label)
        parts: tuple[Tensor, ...] = (shift[0] if len(shift) == 1 else shift).chunk(len(self.layers), dim=-1)
        return parts
