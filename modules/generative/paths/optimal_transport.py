"""Minibatch optimal-transport conditional flow matching (Tong et al. 2024; Pooladian et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.metrics.wasserstein import require_pot

from .independent import IndependentCFM


class OptimalTransportCFM(IndependentCFM):
    """I-CFM whose pairs are the optimal transport between the noise and the data of a batch.

    Between two sets of equal size and weight the plan is a permutation, so that nothing has to be drawn from
    it. POT's network simplex solves it exactly; on a GPU the costs are copied to the CPU once per batch.

    Args:
        sigma: Constant spread σ.

    Raises:
        UsageError: POT is not installed.
    """

    def __init__(self, sigma: float = 0.0) -> None:
        super().__init__(sigma)
        require_pot()

    def couple(self, x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
        """The data in the order of the noise that it is paired with."""
        return x0, x1[assignment(x0, x1)]


def assignment(x0: Tensor, x1: Tensor) -> Tensor:
    """The row of x1 that optimal transport for squared distances gives each row of x0, shape (n,)."""
    cost = torch.cdist(x0.detach().flatten(1).double(), x1.detach().flatten(1).double()).square()
    plan = require_pot().emd([], [], cost.cpu().numpy(), numItermax=10_000_000)
    return torch.from_numpy(plan.argmax(axis=1)).to(x1.device)
