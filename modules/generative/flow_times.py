"""At which times a flow is trained; noise is at t = 0, data at t = 1."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from integrand.solvers.options import require_positive


class FlowTimes(ABC):
    """A distribution of times on (0, 1)."""

    @abstractmethod
    def draw(self, n: int, like: Tensor) -> Tensor:
        """N independent times from the global generator, shape (n,), dtype and device of `like`."""


class UniformFlowTimes(FlowTimes):
    """Uniform (Lipman et al. 2023)."""

    def draw(self, n: int, like: Tensor) -> Tensor:
        """See `FlowTimes.draw`."""
        return torch.rand(n, dtype=like.dtype, device=like.device)


class LogitNormalTimes(FlowTimes):
    """t = 1/(1 + exp(−z)) with z ~ N(mean, std²) (Esser et al. 2024, Eq. 19): most weight between the ends.

    The paper counts time from the data to the noise: its mean m is −`mean` here.

    Args:
        mean: Mean of logit t; above 0 trains more near the data.
        std: Standard deviation of logit t.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        require_positive(std=std)
        self.mean, self.std = mean, std

    def draw(self, n: int, like: Tensor) -> Tensor:
        """See `FlowTimes.draw`."""
        return torch.sigmoid(self.mean + self.std * torch.randn(n, dtype=like.dtype, device=like.device))
