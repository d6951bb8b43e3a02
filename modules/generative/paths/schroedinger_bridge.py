"""Schrödinger-bridge conditional flow matching (Tong et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import UsageError

from .base import Coefficients, Path
from .sinkhorn import sinkhorn


class SchroedingerBridgeCFM(Path):
    """Brownian bridges of spread σ√(t(1 − t)) between pairs of a batch's entropic transport at 2σ².

    u_t = (1 − 2t)/(2t(1 − t)) (x_t − μ_t) + x₁ − x₀ (Tong et al. 2024). The velocity of the
    spread has a singularity at both ends, so that times keep `margin` away from them.

    Args:
        sigma: Diffusion σ of the reference process, positive.
        margin: Distance of the times of training from 0 and 1.

    Raises:
        UsageError: sigma is not positive, or margin is out of range.
    """

    def __init__(self, sigma: float = 0.5, margin: float = 1e-3) -> None:
        super().__init__(sigma)
        if not sigma > 0:
            raise UsageError(
                "a Schrödinger bridge needs sigma > 0", "for sigma = 0 it is OptimalTransportCFM"
            )
        if not 0 < margin < 0.5:
            raise UsageError(f"margin must lie in (0, 0.5), got {margin}", "set model.path.margin: 0.001")
        self.margin = margin

    def coefficients(self, t: Tensor) -> Coefficients:
        """See `Path.coefficients`."""
        return Coefficients(1 - t, t, self.sigma * torch.sqrt(t * (1 - t)))

    def rates(self, t: Tensor) -> Coefficients:
        """See `Path.rates`; infinite at both ends."""
        spread = self.sigma * (1 - 2 * t) / (2 * torch.sqrt(t * (1 - t)))
        return Coefficients(-torch.ones_like(t), torch.ones_like(t), spread)

    def couple(self, x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
        """Each noise with a data point drawn from its row of the plan."""
        plan = entropic_plan(x0, x1, 2 * self.sigma**2)
        return x0, x1[torch.multinomial(plan, 1).squeeze(1)]


def entropic_plan(x0: Tensor, x1: Tensor, regularisation: float, tolerance: float = 1e-3) -> Tensor:
    """The entropic transport plan for squared distances, shape (n, m), float64; its rows sum to 1/n.

    See `sinkhorn`.
    """
    cost = torch.cdist(x0.detach().flatten(1).double(), x1.detach().flatten(1).double()).square()
    return sinkhorn(cost, regularisation, tolerance)
