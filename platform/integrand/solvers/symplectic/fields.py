"""Fields of mechanics, in the form that symplectic methods need."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..own_times import Rescaled


class SeparableField(nn.Module, ABC):
    """q̇ = velocity(t, p), ṗ = force(t, q): the equations of H = T(p) + V(q), velocity ∇T and force -∇V.

    The state holds q and p one after the other along dim 1, shape (batch, 2d, ...). Any two functions give a
    map that preserves volume and can be undone; it is symplectic where they are gradients.
    """

    @abstractmethod
    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """q̇, shape of p (batch, d, ...)."""

    @abstractmethod
    def force(self, t: Tensor, q: Tensor) -> Tensor:
        """ṗ, shape of q (batch, d, ...)."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The whole field, for every other solver."""
        q, p = y.chunk(2, dim=1)
        return torch.cat((self.velocity(t, p), self.force(t, q)), dim=1)

    def over_shares(self, scale: Rescaled) -> nn.Module:
        """See `InParts`."""
        return _OverShares(self, scale)


class SecondOrderField(SeparableField):
    """q̈ = force(t, q) with unit mass: the velocity is p."""

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """The momentum itself."""
        return p

    def over_shares(self, scale: Rescaled) -> nn.Module:
        """See `InParts`; the velocity is p times the sample's span, which leaves the orders what they are."""
        return _SecondOrderOverShares(self, scale)


class _OverShares(SeparableField):
    def __init__(self, field: SeparableField, scale: Rescaled) -> None:
        super().__init__()
        self.field, self.scale = field, scale

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        return self.scale.of(self.field.velocity, t, p)

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        return self.scale.of(self.field.force, t, q)


class _SecondOrderOverShares(_OverShares, SecondOrderField):
    pass
