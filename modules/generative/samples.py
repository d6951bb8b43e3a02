"""Generated samples and their account."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from integrand.solvers import SolveStats


@dataclass
class Samples:
    """Generated samples with what they cost.

    Args:
        x: Shape (n, …), on the device of the network.
        stats: The account of each batch that was generated.
    """

    x: Tensor
    stats: list[SolveStats] = field(default_factory=list)

    @property
    def nfe(self) -> int:
        """Evaluations of the network one after another: those of the batch that needed most."""
        return max((s.nfe_forward for s in self.stats), default=0)

    @property
    def failed(self) -> Tensor:
        """Which samples are not finite, shape (n,), bool."""
        return ~torch.isfinite(self.x).flatten(1).all(dim=1)
