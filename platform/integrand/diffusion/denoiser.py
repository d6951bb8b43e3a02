"""What samplers evaluate: a network with its process and parametrisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from .parametrisations import NoisePrediction, Parametrisation
from .processes import Process


@runtime_checkable
class Denoising(Protocol):
    """Anything samplers can evaluate.

    `condition` is passed only where one was given to the sampler. A conditional model also has `null`, the
    condition that stands for "none" and was trained with: a class number, or a vector or embedding of the
    shape of one sample's condition.
    """

    parametrisation: Parametrisation
    conditional: bool

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The output at x, shape (batch, ...), for times t, shape (batch,), in its parametrisation."""


class Denoiser(nn.Module):
    """A network read as a denoiser: scales its input, labels the time, states what it predicts.

    Args:
        network: A module or any callable, called as `network(c_in x, label)`, with a third argument
            `condition`, shape (batch, ...), where `conditional`; returns the shape of x. State, label and
            condition come in the dtype of its weights, whatever that of x; a network that embeds labels
            itself declares `wide_labels = True` and gets them in float32 or wider, where 999 and 1000 are two
            numbers.
        process: The process it is trained on.
        parametrisation: What it predicts; the noise where not given.
        conditional: Whether it takes a condition.
        null: The condition that means "none", needed for guidance: such as the number of classes, or the
            embedding of the empty text.
    """

    def __init__(
        self,
        network: nn.Module | Callable[..., Tensor],
        process: Process,
        parametrisation: Parametrisation | None = None,
        conditional: bool = False,
        null: int | Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network, self.process = network, process
        self.parametrisation = parametrisation or NoisePrediction()
        self.conditional, self.null = conditional, null

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The network's output at x, shape (batch, ...), for times t, shape (batch,)."""
        if self.parametrisation.scales_input:
            x = self.parametrisation.input_scale(*self.levels(x, t)) * x
        dtype = _weights_dtype(self.network) or x.dtype
        wide = getattr(self.network, "wide_labels", False)
        label = self.parametrisation.label(self.process, _wide(t))
        label = label.to(torch.promote_types(dtype, torch.float32) if wide else dtype)
        x = x.to(dtype)
        if not self.conditional:
            return cast(Tensor, self.network(x, label))
        if condition is not None and condition.is_floating_point():
            condition = condition.to(dtype)
        return cast(Tensor, self.network(x, label, condition))

    def levels(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ at t, shape (batch, 1, ...) and dtype of x; computed in float64."""
        wide = _wide(t)
        shape = (-1, *[1] * (x.ndim - 1))
        alpha, sigma = self.process.levels(wide)
        return alpha.to(x.dtype).view(shape), sigma.to(x.dtype).view(shape)

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The noisy state α x_0 + σ noise at times t, shape (batch,), and what to predict there."""
        alpha, sigma = self.levels(x0, t)
        return alpha * x0 + sigma * noise, self.parametrisation.target(x0, noise, alpha, sigma)


def expand_time(t: float, x: Tensor) -> Tensor:
    """T for every sample of x, shape (batch,); float32 where x is narrower."""
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    return torch.full((len(x),), t, dtype=dtype, device=x.device)


def _weights_dtype(network: object) -> torch.dtype | None:
    """Dtype of the first weight that is a real number; None where there is none, as in a plain function."""
    if not isinstance(network, nn.Module):
        return None
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), None)


def _wide(t: Tensor) -> Tensor:
    """T in float64 where the device has it: α and 1 − α² lose half their digits in float32."""
    return t if t.device.type == "mps" else t.double()
