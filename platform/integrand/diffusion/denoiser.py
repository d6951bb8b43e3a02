"""What samplers evaluate: a network with its process and parametrisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from .parametrisations import NoisePrediction, Parametrisation
from .processes import Node, Process


@runtime_checkable
class Denoising(Protocol):
    """Anything samplers can evaluate.

    `condition` is passed only where one was given to the sampler. A conditional model also has `null`, the
    condition that stands for "none" and was trained with: a class number, or a vector or embedding of the
    shape of one sample's condition. A model that has `told`, as `Denoiser` has, is asked it once for all
    times of a run, and then called with `told=` what it said of one.
    """

    parametrisation: Parametrisation
    conditional: bool

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The output at x, shape (batch, ...), for times t, shape (batch,), in its parametrisation."""


class Told(NamedTuple):
    """What a network is told of one time, worked out before it is asked.

    Args:
        t: The time of each sample, shape (batch,).
        label: Its label, shape (batch,).
        scale: c_in; None where the network sees x.
        dtype: Dtype of its weights; None where it has none.
    """

    t: Tensor
    label: Tensor
    scale: float | None
    dtype: torch.dtype | None


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

    def forward(
        self, x: Tensor, t: Tensor, condition: Tensor | None = None, told: Told | None = None
    ) -> Tensor:
        """The network's output at x, shape (batch, ...), for times t, shape (batch,).

        Args:
            x: The state.
            t: The times.
            condition: The condition of each sample, shape (batch, ...).
            told: What `told` says of t where it is one time, known before; else it is worked out here.
        """
        if told is None:
            dtype = _weights_dtype(self.network) or x.dtype
            label = self._label(t, dtype)
            if self.parametrisation.scales_input:
                x = self.parametrisation.input_scale(*self.levels(x, t)) * x
        else:
            dtype, label = told.dtype or x.dtype, told.label
            x = x if told.scale is None else x * told.scale
        x = x.to(dtype)
        if not self.conditional:
            return cast(Tensor, self.network(x, label))
        if condition is not None and condition.is_floating_point():
            condition = condition.to(dtype)
        return cast(Tensor, self.network(x, label, condition))

    def told(self, nodes: Sequence[Node], x: Tensor) -> list[Told]:
        """What the network is told at each of the nodes, of states such as x, shape (batch, ...).

        Labels of all times come of one call: time by time they would cost as much as a small step.
        """
        dtype = _weights_dtype(self.network)
        times = torch.tensor([node.t for node in nodes], dtype=_time_dtype(x), device=x.device)
        labels = self._label(times, dtype or x.dtype)
        rows, names = (column[:, None].expand(-1, len(x)).unbind() for column in (times, labels))
        reading = self.parametrisation
        scales = [reading.input_scale(n.alpha, n.sigma) if reading.scales_input else None for n in nodes]
        return [Told(t, label, c, dtype) for t, label, c in zip(rows, names, scales, strict=True)]

    def _label(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """The label of each time, shape of t, in the dtype that a network with weights of `dtype` gets."""
        wide = getattr(self.network, "wide_labels", False)
        label = self.parametrisation.label(self.process, _wide(t))
        return label.to(torch.promote_types(dtype, torch.float32) if wide else dtype)

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
    return torch.full((len(x),), t, dtype=_time_dtype(x), device=x.device)


def _time_dtype(x: Tensor) -> torch.dtype:
    return x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32


def _weights_dtype(network: object) -> torch.dtype | None:
    """Dtype of the first weight that is a real number; None where there is none, as in a plain function."""
    if not isinstance(network, nn.Module):
        return None
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), None)


def _wide(t: Tensor) -> Tensor:
    """T in float64 where the device has it: α and 1 − α² lose half their digits in float32."""
    return t if t.device.type == "mps" else t.double()
