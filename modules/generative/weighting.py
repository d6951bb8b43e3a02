"""How much the loss of a diffusion model counts at each noise level, apart from what the network predicts.

A weighting W(α, σ) is that of the loss in the data, W ‖x̂_0 − x_0‖². A prediction with x_0 = p x + q out then
has the loss W q² ‖out − target‖², so that one weighting means the same for every parametrisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from integrand.diffusion import Parametrisation, Process
from integrand.solvers.options import require_positive


class Weighting(ABC):
    """The weight of the loss over time."""

    @abstractmethod
    def of_output(self, t: Tensor, process: Process, parametrisation: Parametrisation) -> Tensor:
        """The weight of the squared error of the network's output at times t, shape (batch,)."""


class LevelWeighting(Weighting):
    """Base of the weightings W(α, σ) of the loss in the data."""

    @abstractmethod
    def weight(self, alpha: Tensor, sigma: Tensor, t: Tensor, process: Process) -> Tensor:
        """W(α, σ) at times t; all shapes (batch,), float64."""

    def of_output(self, t: Tensor, process: Process, parametrisation: Parametrisation) -> Tensor:
        """W q²; see `Weighting`."""
        alpha, sigma = process.levels(t)
        _, q = parametrisation.coefficients(alpha, sigma)
        return self.weight(alpha, sigma, t, process) * q.square()


class PlainWeighting(Weighting):
    """1 for the network's own output, whatever it predicts.

    That is L_simple for noise (Ho et al. 2020, Eq. 14), SNR + 1 for v, and λ(σ) of EDM for its preconditioned
    network (Karras et al. 2022, Table 1), whose c_out² it cancels.
    """

    def of_output(self, t: Tensor, process: Process, parametrisation: Parametrisation) -> Tensor:
        """1."""
        return torch.ones_like(t)


class NoiseWeighting(LevelWeighting):
    """α²/σ²: the squared error of the noise, λ(t) = σ² for the score (Song et al. 2021, Sec. 3.3)."""

    def weight(self, alpha: Tensor, sigma: Tensor, t: Tensor, process: Process) -> Tensor:
        """See `Weighting`."""
        return (alpha / sigma).square()


class DataWeighting(LevelWeighting):
    """1: the squared error of the data."""

    def weight(self, alpha: Tensor, sigma: Tensor, t: Tensor, process: Process) -> Tensor:
        """See `Weighting`."""
        return alpha * 0 + 1


class LikelihoodWeighting(LevelWeighting):
    """½ g² α²/σ⁴: the loss bounds −log p up to a constant (Song et al. 2021, Maximum Likelihood Training).

    With times drawn uniformly its variance is large.
    """

    def weight(self, alpha: Tensor, sigma: Tensor, t: Tensor, process: Process) -> Tensor:
        """See `Weighting`."""
        return 0.5 * process.diffusion2(t) * alpha.square() / sigma**4


class MinSNRWeighting(LevelWeighting):
    """min(α²/σ², γ) (Hang et al. 2023, Eq. 4): the noise's error, bounded where there is little noise.

    Args:
        gamma: γ.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        require_positive(gamma=gamma)
        self.gamma = gamma

    def weight(self, alpha: Tensor, sigma: Tensor, t: Tensor, process: Process) -> Tensor:
        """See `Weighting`."""
        return (alpha / sigma).square().clamp(max=self.gamma)


class TruncatedSNRWeighting(LevelWeighting):
    """max(α²/σ², 1): the larger of the errors of data and noise (Salimans & Ho 2022, Sec. 4)."""

    def weight(self, alpha: Tensor, sigma: Tensor, t: Tensor, process: Process) -> Tensor:
        """See `Weighting`."""
        return (alpha / sigma).square().clamp(min=1)
