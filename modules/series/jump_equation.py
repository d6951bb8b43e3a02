"""What a neural jump SDE is made of: its equation between events, jumps, marks and intensity."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.spec import SeriesSpec

from ..bench.vector import VectorField
from .gaussian import bounded_gaussian
from .latent_equations import ComponentNet
from .perceptron import perceptron


class Between(nn.Module):
    """dz = f(z) dt + g(z) dW, g_i = σ · a net of z_i alone in (0, 1); a `KnotSDE`.

    Args:
        width: Length of z.
        hidden: Width of hidden layers.
        sigma: σ; 0 for no noise.
        time_dependent: Whether t enters f.
    """

    def __init__(self, width: int, hidden: int, sigma: float, time_dependent: bool) -> None:
        super().__init__()
        self.field: nn.Module = VectorField(width, time_dependent=time_dependent, hidden=hidden)
        self.diffusion = ComponentNet(width, hidden) if sigma > 0 else None
        self.sigma = sigma

    def enter(self, interval: int, place: float) -> None:
        """See `KnotSDE`; the law is the same everywhere."""

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        value: Tensor = self.field(t, y)
        return value

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        return torch.zeros_like(y) if self.diffusion is None else self.sigma * self.diffusion(y)


class Jump(nn.Module):
    """z ← z + w(z, x) at an event with the mark x; what was not observed of it is told as it was expected.

    Args:
        spec: Channels and static numbers.
        width: Length of z.
        hidden: Width of the hidden layer.
    """

    def __init__(self, spec: SeriesSpec, width: int, hidden: int) -> None:
        super().__init__()
        self.net = perceptron(width + 2 * spec.channels + spec.static, hidden, width, 1, nn.Tanh)

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, expected: Tensor, static: Tensor) -> Tensor:
        """The state behind the event, shape (batch, width); the same where nothing was observed.

        Args:
            z: The state before it, shape (batch, width).
            x: The mark, shape (batch, channels).
            mask: What was observed of it, likewise, bool.
            expected: What was expected, likewise.
            static: Shape (batch, s).
        """
        known = torch.where(mask, x, expected)
        moved: Tensor = z + self.net(torch.cat((z, known, mask.to(z), static), 1))
        return torch.where(mask.any(-1, keepdim=True), moved, z)


class Marks(nn.Module):
    """p(x | z), a Gaussian for each channel.

    Args:
        channels: Length of x.
        width: Length of z.
        hidden: Width of the hidden layer.
    """

    def __init__(self, channels: int, width: int, hidden: int) -> None:
        super().__init__()
        self.net = perceptron(width, hidden, 2 * channels, 1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each (…, channels), for z of shape (…, width)."""
        return bounded_gaussian(self.net(z))


class Ones(nn.Module):
    """Marks that are 1, where the kind of an event is all that there is to know.

    Args:
        channels: Length of x.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """See `Marks.forward`; nothing is left to chance."""
        mean = z.new_ones(*z.shape[:-1], self.channels)
        return mean, torch.full_like(mean, -math.inf)


class Intensity(nn.Module):
    """λ(z) = softplus of a net, one for each kind of event: the rate at which events come.

    Args:
        kinds: Kinds of event.
        width: Length of z.
        hidden: Width of the hidden layer.
        rate: λ at the start, of all kinds together.
    """

    def __init__(self, kinds: int, width: int, hidden: int, rate: float) -> None:
        super().__init__()
        self.net = perceptron(width, hidden, kinds, 1, nn.Tanh)
        nn.init.constant_(
            self.net.get_parameter(f"{len(self.net) - 1}.bias"), math.log(math.expm1(rate / kinds))
        )

    def forward(self, z: Tensor) -> Tensor:
        """Shape (…, kinds) for z of shape (…, width), positive."""
        return F.softplus(self.net(z)) + torch.finfo(z.dtype).tiny


class JumpNets(nn.Module):
    """All of them, and the state that a series begins with.

    Args:
        spec: Channels and static numbers, and whether time enters the drift.
        width: Length of z.
        hidden: Width of hidden layers.
        sigma: Bound of the diffusion.
        kinds: Kinds of event: 1, or one for each channel; 0 where times are no news.
        rate: λ at the start, of all kinds together.
        marked: Whether events have marks beside their kind.
    """

    def __init__(
        self,
        spec: SeriesSpec,
        width: int,
        hidden: int,
        sigma: float,
        kinds: int,
        rate: float,
        marked: bool = True,
    ) -> None:
        super().__init__()
        self.begin = nn.Parameter(0.1 * torch.randn(width))
        self.between = Between(width, hidden, sigma, not spec.autonomous)
        self.jump: nn.Module = Jump(spec, width, hidden)
        self.marks: nn.Module = Marks(spec.channels, width, hidden) if marked else Ones(spec.channels)
        self.intensity: nn.Module | None = Intensity(kinds, width, hidden, rate) if kinds else None
        self.kinds, self.channels, self.static = kinds, spec.channels, spec.static
