"""Prior and posterior of a latent SDE, and the networks that both are made of (Li et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .perceptron import perceptron


class ComponentNet(nn.Module):
    """g_i(z_i) in (0, 1): a net of one hidden layer for each component, all at once.

    Args:
        size: Components.
        hidden: Width of each hidden layer.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        # as nn.Linear would start them, with one input and with `hidden`
        self.first = nn.Parameter(2 * torch.rand(2, size, hidden) - 1)
        self.second = nn.Parameter((2 * torch.rand(size, hidden) - 1) / math.sqrt(hidden))
        self.offset = nn.Parameter((2 * torch.rand(size) - 1) / math.sqrt(hidden))

    def forward(self, z: Tensor) -> Tensor:
        """Shape of z, (batch, size)."""
        inner = F.softplus(torch.addcmul(self.first[1], self.first[0], z.unsqueeze(-1)))
        return torch.sigmoid((inner * self.second).sum(dim=-1) + self.offset)


class LatentNets(nn.Module):
    """Prior drift h, diffusion g, and the control u of the posterior, whose drift is f = h + g u.

    In this form f − h lies in the range of g. u starts near 0, where the posterior is the prior.

    Args:
        size: Components of z.
        context: Length of what is known of the rest of a series.
        hidden: Width of hidden layers.
        depth: Number of hidden layers of h and u.
        tells_time: Whether h and u are told the time.
    """

    def __init__(self, size: int, context: int, hidden: int, depth: int, tells_time: bool) -> None:
        super().__init__()
        self.tells_time = tells_time
        self.prior = perceptron(size + int(tells_time), hidden, size, depth)
        self.control = perceptron(size + int(tells_time) + context, hidden, size, depth)
        self.diffusion = ComponentNet(size, hidden)
        with torch.no_grad():
            for parameter in self.control[-1].parameters():
                parameter.mul_(0.01)

    def told(self, t: Tensor, z: Tensor) -> Tensor:
        """What the drifts are told of time and state."""
        return torch.cat((z, t), dim=1) if self.tells_time else z


class Posterior(nn.Module):
    """The equation of one batch, led by what is known of the observations ahead; the prior behind the last.

    Args:
        nets: Its coefficients.
        known: What is known of the rest at each knot, shape (batch, n, context).
        ahead: How many observations that are, shape (batch, n).
    """

    def __init__(self, nets: LatentNets, known: Tensor, ahead: Tensor) -> None:
        super().__init__()
        self.nets = nets
        self.known, self.led = known.unbind(1), (ahead > 0).to(known.dtype).unsqueeze(-1).unbind(1)
        self._shared: tuple[Tensor, Tensor, Tensor] | None = None
        self._interval = 0

    def enter(self, interval: int, place: float) -> None:
        """See `KnotSDE`."""
        self._interval = interval

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Posterior drift."""
        told, nets = self.nets.told(t, y), self.nets
        h, g = nets.prior(told), nets.diffusion(y)
        self._shared = (y, h, g)
        # on the way to a knot what is known there and behind it is ahead
        behind = self._interval + 1
        u = nets.control(torch.cat((told, self.known[behind]), dim=1)) * self.led[behind]
        return torch.addcmul(h, g, u)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, that of the drift's evaluation where there was one at this state."""
        shared = self._shared
        value: Tensor = shared[2] if shared is not None and shared[0] is y else self.nets.diffusion(y)
        return value

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        """Prior drift, likewise."""
        shared = self._shared
        known = shared is not None and shared[0] is y
        value: Tensor = shared[1] if shared is not None and known else self.nets.prior(self.nets.told(t, y))
        return value


class Prior(nn.Module):
    """dz = h(z) dt + g(z) dW, led by nothing.

    Args:
        nets: Its coefficients.
    """

    def __init__(self, nets: LatentNets) -> None:
        super().__init__()
        self.nets = nets

    def enter(self, interval: int, place: float) -> None:
        """See `KnotSDE`."""

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        value: Tensor = self.nets.prior(self.nets.told(t, y))
        return value

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion."""
        value: Tensor = self.nets.diffusion(y)
        return value
