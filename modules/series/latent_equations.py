"""Prior and posterior of a latent SDE, and the networks that both are made of (Li et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .perceptron import perceptron

ComponentWeights = tuple[Tensor, Tensor, Tensor, Tensor]
"""Weight and bias of the hidden layer, weight and bias of the last."""


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

    def laid_out(self) -> ComponentWeights:
        """Both layers as matrices that are 0 outside the blocks of a component, for many calls."""
        own = torch.eye(len(self.offset)).to(self.offset)
        slope, bias = self.first
        slope, second = own.unsqueeze(-1) * slope, own.unsqueeze(1) * self.second.unsqueeze(-1)
        return slope.flatten(1), bias.flatten(), second.flatten(0, 1), self.offset

    def forward(self, z: Tensor, weights: ComponentWeights | None = None) -> Tensor:
        """Shape of z, (batch, size).

        Args:
            z: State.
            weights: What `laid_out` returned, where this is one call of many: products of matrices take fewer
                kernels, backwards above all.
        """
        if weights is not None:
            slope, bias, second, offset = weights
            inner = F.softplus(torch.addmm(bias, z, slope))
            return torch.sigmoid(torch.addmm(offset, inner, second))
        inner = F.softplus(torch.addcmul(self.first[1], self.first[0], z.unsqueeze(-1)))
        return torch.sigmoid((inner * self.second).sum(dim=-1) + self.offset)


class Control(nn.Module):
    """u(z, what is known of the observations ahead, time until the next), a perceptron.

    What is known stands still between observations, so its share of the first layer is made once for each.

    Args:
        size: Components of z and what else is told beside what is known.
        context: Length of what is known.
        hidden: Width of hidden layers.
        depth: Number of hidden layers.
        outputs: Components of u.
    """

    def __init__(self, size: int, context: int, hidden: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.known, self.told = nn.Linear(context, hidden), nn.Linear(size, hidden, bias=False)
        deep = perceptron(hidden, hidden, outputs, depth - 1) if depth > 1 else nn.Linear(hidden, outputs)
        self.rest = nn.Sequential(nn.SiLU(), *(deep if isinstance(deep, nn.Sequential) else [deep]))

    def forward(self, told: Tensor, pull: Tensor) -> Tensor:
        """The control, shape (batch, outputs).

        Args:
            told: State and times, shape (batch, size).
            pull: `known` of what is known, shape (batch, hidden).
        """
        value: Tensor = self.rest(self.told(told) + pull)
        return value


class SideBySide:
    """Prior drift h and control u for the steps of one solve, their weights laid out once.

    Both are perceptrons of equal widths, so that a layer of both is one batched product.

    Args:
        nets: Both.
    """

    def __init__(self, nets: LatentNets) -> None:
        first, *prior = (layer for layer in nets.prior if isinstance(layer, nn.Linear))
        control = (layer for layer in nets.control.rest if isinstance(layer, nn.Linear))
        # h is not told when the next observation comes, the last of what u is told
        self._first = torch.cat((F.pad(first.weight, (0, 1)), nets.control.told.weight)).T
        self._bias = first.bias
        self._rest = [
            (torch.stack((h.bias, u.bias)).unsqueeze(1), torch.stack((h.weight, u.weight)).mT)
            for h, u in zip(prior, control, strict=True)
        ]

    def still(self, pull: Tensor) -> Tensor:
        """What stands still between knots in the first layer of both, from what the control is told of it."""
        return torch.cat((self._bias.expand_as(pull), pull), dim=-1)

    def __call__(self, told: Tensor, still: Tensor) -> tuple[Tensor, ...]:
        """Values of h and u, each (batch, size).

        Args:
            told: State and times, shape (batch, size of what u is told).
            still: `still` of one knot, shape (batch, 2 hidden).
        """
        x = torch.addmm(still, told, self._first).view(len(told), 2, -1).transpose(0, 1)
        for bias, weight in self._rest:
            x = torch.baddbmm(bias, F.silu(x), weight)
        return x.unbind(0)


class LatentNets(nn.Module):
    """Prior drift h, diffusion g, and the control u of the posterior, whose drift is f = h + g u.

    In this form f − h lies in the range of g. u starts near 0, where the posterior is the prior. How hard the
    next observation pulls depends on how near it is, so u is told the time until then.

    Args:
        size: Components of z.
        context: Length of what is known of the rest of a series.
        hidden: Width of hidden layers.
        depth: Number of hidden layers of h and u.
        tells_time: Whether h and u are told the time.
        gap: Median gap between observations.
    """

    def __init__(
        self, size: int, context: int, hidden: int, depth: int, tells_time: bool, gap: float
    ) -> None:
        super().__init__()
        self.tells_time, self.gap = tells_time, gap
        self.prior = perceptron(size + int(tells_time), hidden, size, depth)
        self.control = Control(size + int(tells_time) + 1, context, hidden, depth, size)
        self.diffusion = ComponentNet(size, hidden)
        with torch.no_grad():
            for parameter in self.control.rest[-1].parameters():
                parameter.mul_(0.01)

    def forward(
        self, y: Tensor, told: Tensor, still: Tensor, drifts: SideBySide, weights: ComponentWeights
    ) -> tuple[Tensor, Tensor, Tensor]:
        """h, g and u at one state, each (batch, size).

        Args:
            y: State, shape (batch, size).
            told: State and times, as u is told them.
            still: See `SideBySide`.
            drifts: h and u.
            weights: Of g, laid out.
        """
        h, u = drifts(told, still)
        return h, self.diffusion(y, weights), u

    def told(self, t: Tensor, z: Tensor) -> Tensor:
        """What the drifts are told of time and state."""
        return torch.cat((z, t), dim=1) if self.tells_time else z


class Posterior(nn.Module):
    """The equation of one batch, led by what is known of the observations ahead; the prior behind the last.

    Args:
        nets: Its coefficients.
        known: What is known of the rest at each knot, shape (batch, n, context).
        ahead: How many observations that are, shape (batch, n).
        knots: Times of the knots in units of the equation, shape (batch, n).
    """

    def __init__(self, nets: LatentNets, known: Tensor, ahead: Tensor, knots: Tensor) -> None:
        super().__init__()
        self.nets = nets
        self.known = known
        self.led = (ahead > 0).to(known).unsqueeze(-1).unbind(1)
        # where fewer are ahead at the next knot, this one is observed; else the next one's arrival is its own
        observed = ahead > torch.cat((ahead[:, 1:], torch.zeros_like(ahead[:, :1])), dim=1)
        times = torch.where(observed, knots, torch.inf).flip(1).cummin(dim=1).values.flip(1)
        arrival = torch.where(ahead > 0, times, knots) / nets.gap
        self.arrival = arrival.to(known).unsqueeze(-1).unbind(1)
        self._shared: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        self._count = 1
        self._laid: tuple[tuple[Tensor, ...], SideBySide, ComponentWeights] | None = None
        self._interval = 0

    def repeat(self, count: int) -> None:
        """Let so many copies of the batch stand behind one another."""
        self._count *= count
        parts = (self.led, self.arrival)
        self.led, self.arrival = (tuple(x.repeat(count, 1) for x in part) for part in parts)

    def _laid_out(self) -> tuple[tuple[Tensor, ...], SideBySide, ComponentWeights]:
        """What the drifts are told that stands still at each knot, and all weights; once for the solve."""
        if self._laid is None:
            drifts = SideBySide(self.nets)
            # the knot first, so that what stands still at each lies together
            still = drifts.still(self.nets.control.known(self.known.transpose(0, 1)))
            self._laid = still.unbind(0), drifts, self.nets.diffusion.laid_out()
        return self._laid

    def enter(self, interval: int, place: float) -> None:
        """See `KnotSDE`."""
        self._interval = interval

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Posterior drift."""
        nets = self.nets
        still, drifts, weights = self._laid_out()
        # on the way to a knot what is known there and behind it is ahead
        behind = self._interval + 1
        left = self.arrival[behind] - t.to(y) / nets.gap
        told = torch.cat((y, t, left) if nets.tells_time else (y, left), dim=1)
        # here, since all knots of all copies would be many times the states
        pull = still[behind] if self._count == 1 else still[behind].repeat(self._count, 1)
        h, g, u = nets(y, told, pull, drifts, weights)
        u = u * self.led[behind]
        self._shared = (y, h, g, u)
        return torch.addcmul(h, g, u)

    def _known(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """What the drift's evaluation at this state has found, where there was one."""
        shared = self._shared
        return shared if shared is not None and shared[0] is y else None

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, that of the drift's evaluation where there was one at this state."""
        known = self._known(y)
        value: Tensor = self.nets.diffusion(y) if known is None else known[2]
        return value

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        """Prior drift, likewise."""
        known = self._known(y)
        value: Tensor = self.nets.prior(self.nets.told(t, y)) if known is None else known[1]
        return value

    def u(self, t: Tensor, y: Tensor) -> Tensor:
        """(f − h)/g, behind an evaluation of the drift at this state."""
        known = self._known(y)
        assert known is not None
        return known[3]


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
