"""Solution maps F(t, h) without a solver, F(0, h) = h and invertible at every t (Biloš et al. 2021)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

CONTRACTION = 0.9
"""Largest gain of a contractive matrix: below 1, so that h + g(h) has an inverse."""


class Contraction(nn.Module):
    """W · min(1, c / ‖W‖₂): exact, not by power iteration, so that nothing changes from call to call."""

    def forward(self, weight: Tensor) -> Tensor:
        """The matrix with its norm bounded."""
        norm = torch.linalg.matrix_norm(weight, 2)
        bounded: Tensor = weight * (CONTRACTION / norm).clamp(max=1.0)
        return bounded


def contractive(inputs: int, outputs: int) -> nn.Linear:
    """A linear map of gain 0.9 at most."""
    layer = nn.Linear(inputs, outputs)
    parametrize.register_parametrization(layer, "weight", Contraction())
    return layer


class TimeGate(nn.Module):
    """φ(t) = tanh(α t) for each component: φ(0) = 0 and |φ| < 1.

    Args:
        width: Number of components.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, t: Tensor) -> Tensor:
        """Shape (…, width) for t of shape (…, 1)."""
        return torch.tanh(t * self.rate)


class SolutionMap(nn.Module):
    """One layer of a flow."""

    @abstractmethod
    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """F(t, h), shape (…, width), for t of shape (…, 1)."""

    @abstractmethod
    def inverse(self, t: Tensor, h: Tensor) -> Tensor:
        """The state at 0 that is at h at time t."""


class ResNetFlow(SolutionMap):
    """F(t, h) = h + φ(t) ⊙ g(t, h) with g of gain below 1 in h (eq. 3); inverted by its fixed point.

    Args:
        width: Length of h.
        hidden: Width of the hidden layer of g.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = TimeGate(width)
        self.state, self.clock = contractive(width, hidden), nn.Linear(1, hidden, bias=False)
        self.out = contractive(hidden, width)

    def change(self, t: Tensor, h: Tensor) -> Tensor:
        """φ(t) ⊙ g(t, h)."""
        inner = torch.tanh(self.state(h) + self.clock(t))
        moved: Tensor = self.gate(t) * self.out(inner)
        return moved

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.forward`."""
        return h + self.change(t, h)

    def inverse(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.inverse`."""
        return fixed_point(lambda guess: h - self.change(t, guess), h)


class GRUFlow(SolutionMap):
    """F(t, h) = h + φ(t) ⊙ z ⊙ (c − h), c = tanh(f_c(t, r ⊙ h)) (eq. 4); |h| ≤ 1 stays so.

    With z = ⅖ σ(f_z), r = ⅘ σ(f_r) and f_z, f_r, f_c of gain below 1 the change has a gain below 1 wherever
    |h| ≤ 1, so that there is an inverse.

    Args:
        width: Length of h.
        hidden: Not used; the gates are linear maps.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = TimeGate(width)
        self.update, self.reset, self.candidate = (contractive(width, width) for _ in range(3))
        self.clock = nn.Linear(1, 3 * width, bias=False)

    def change(self, t: Tensor, h: Tensor) -> Tensor:
        """φ(t) ⊙ z ⊙ (c − h)."""
        update, reset, candidate = self.clock(t).chunk(3, -1)
        z = 0.4 * torch.sigmoid(self.update(h) + update)
        r = 0.8 * torch.sigmoid(self.reset(h) + reset)
        c = torch.tanh(self.candidate(r * h) + candidate)
        moved: Tensor = self.gate(t) * z * (c - h)
        return moved

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.forward`."""
        return h + self.change(t, h)

    def inverse(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.inverse`."""
        return fixed_point(lambda guess: h - self.change(t, guess), h)


class CouplingFlow(SolutionMap):
    """h_A ↦ h_A exp(φ(t) s(t, h_B)) + φ(t) b(t, h_B), the other part h_B stays (eq. 5); exactly inverted.

    Args:
        width: Length of h, 2 or more.
        hidden: Width of the hidden layer of s and b.
        first: Whether the first half is the one that moves.
    """

    def __init__(self, width: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.moving = width // 2 if first else width - width // 2
        self.first = first
        self.gates = nn.ModuleList(TimeGate(self.moving) for _ in range(2))
        # bounded: the scale is an exponential
        self.net = nn.Sequential(
            nn.Linear(width - self.moving + 1, hidden),
            nn.Tanh(),
            nn.Linear(hidden, 2 * self.moving),
            nn.Tanh(),
        )

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.forward`."""
        moving, still = self._parts(h)
        scale, shift = self._affine(t, still)
        return self._whole(moving * scale.exp() + shift, still)

    def inverse(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.inverse`."""
        moved, still = self._parts(h)
        scale, shift = self._affine(t, still)
        return self._whole((moved - shift) * torch.exp(-scale), still)

    def _affine(self, t: Tensor, still: Tensor) -> tuple[Tensor, Tensor]:
        told = torch.cat((still, t.expand(*still.shape[:-1], 1)), -1)
        scale, shift = self.net(told).chunk(2, -1)
        of_scale, of_shift = self.gates
        return of_scale(t) * scale, of_shift(t) * shift

    def _parts(self, h: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            return h[..., : self.moving], h[..., self.moving :]
        return h[..., -self.moving :], h[..., : -self.moving]

    def _whole(self, moving: Tensor, still: Tensor) -> Tensor:
        return torch.cat((moving, still) if self.first else (still, moving), -1)


class Stacked(SolutionMap):
    """Layers one after the other, each with the same t.

    Args:
        layers: The layers.
    """

    def __init__(self, layers: list[SolutionMap]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.forward`."""
        for layer in self.layers:
            h = layer(t, h)
        return h

    def inverse(self, t: Tensor, h: Tensor) -> Tensor:
        """See `SolutionMap.inverse`."""
        for layer in reversed(self.layers):
            assert isinstance(layer, SolutionMap)
            h = layer.inverse(t, h)
        return h


def fixed_point(step: Callable[[Tensor], Tensor], h: Tensor, iterations: int = 200) -> Tensor:
    """The fixed point of a contraction, from h."""
    for _ in range(iterations):
        h = step(h)
    return h
