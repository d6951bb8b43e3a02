"""At which times a diffusion model is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import torch
from torch import Tensor

from integrand.diffusion import EDM, DiscreteVP, Process
from integrand.errors import UsageError
from integrand.solvers.options import require_positive


class TrainingTimes(ABC):
    """A distribution of times on [t_min, t_max], by its quantiles."""

    @abstractmethod
    def quantile(self, u: Tensor, process: Process) -> Tensor:
        """The time below which a share u of the draws lies; shape (n,), 0 ≤ u < 1."""

    def draw(self, n: int, process: Process, device: torch.device) -> Tensor:
        """N times in random order, one in each n-th of the distribution (Kingma et al. 2021, App. I.1).

        Each is distributed as the quantiles say; together they cover the levels evenly, so that the loss of a
        batch varies less. Draws from torch's global generator. Float64 where the device has it.
        """
        dtype = torch.float32 if device.type == "mps" else torch.float64
        u = (torch.rand(1, device=device, dtype=dtype) + _evenly(n, device)) % 1
        t = self.quantile(u[torch.randperm(n, device=device)], process)
        return t.clamp(process.t_min, process.t_max)


@lru_cache(maxsize=4)
def _evenly(n: int, device: torch.device) -> Tensor:
    """0, 1/n, …, (n − 1)/n in float32."""
    return torch.arange(n, device=device) / n


class UniformTimes(TrainingTimes):
    """Uniform (Song et al. 2021)."""

    def quantile(self, u: Tensor, process: Process) -> Tensor:
        """See `TrainingTimes`."""
        return process.t_min + (process.t_max - process.t_min) * u


class DiscreteTimes(TrainingTimes):
    """The steps of DDPM alone, each as likely (Ho et al. 2020, algorithm 1)."""

    def quantile(self, u: Tensor, process: Process) -> Tensor:
        """See `TrainingTimes`.

        Raises:
            UsageError: The process has no steps.
        """
        if not isinstance(process, DiscreteVP):
            raise UsageError(f"{process.describe()} has no steps", "choose UniformTimes")
        return ((u * process.num_steps).floor() + 1) / process.num_steps


class LogNormalTimes(TrainingTimes):
    """ln σ/α normal (Karras et al. 2022, Table 1).

    Args:
        mean: P_mean.
        std: P_std.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        require_positive(std=std)
        self.mean, self.std = mean, std

    def quantile(self, u: Tensor, process: Process) -> Tensor:
        """See `TrainingTimes`; λ = −ln σ/α."""
        z = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
        return process.time(-(self.mean + self.std * z))


def usual_times(process: Process) -> TrainingTimes:
    """What the authors of the process train at."""
    if isinstance(process, EDM):
        return LogNormalTimes()
    return DiscreteTimes() if isinstance(process, DiscreteVP) else UniformTimes()
