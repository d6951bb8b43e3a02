"""Schrödinger-bridge conditional flow matching (Tong et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.metrics.wasserstein import require_pot

from .base import Coefficients, Path

LARGEST_EXPONENT = 500.0
"""exp(−500) ≈ 1e-217: a sum of such kernels, and its inverse, are still far from the ends of float64."""


class SchroedingerBridgeCFM(Path):
    """Brownian bridges of spread σ√(t(1 − t)) between pairs of a batch's entropic transport at 2σ².

    u_t = (1 − 2t)/(2t(1 − t)) (x_t − μ_t) + x₁ − x₀ (Tong et al. 2024). The velocity of the
    spread has a singularity at both ends, so that times keep `margin` away from them.

    Args:
        sigma: Diffusion σ of the reference process, positive.
        margin: Distance of the times of training from 0 and 1.

    Raises:
        UsageError: sigma is not positive, margin is out of range, or POT is not installed.
    """

    def __init__(self, sigma: float = 0.5, margin: float = 1e-3) -> None:
        super().__init__(sigma)
        if not sigma > 0:
            raise UsageError(
                "a Schrödinger bridge needs sigma > 0", "for sigma = 0 it is OptimalTransportCFM"
            )
        if not 0 < margin < 0.5:
            raise UsageError(f"margin must lie in (0, 0.5), got {margin}", "set model.path.margin: 0.001")
        require_pot()
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


def entropic_plan(x0: Tensor, x1: Tensor, regularisation: float) -> Tensor:
    """Rows proportional to the entropic transport plan for squared distances, shape (n, n).

    In the log domain for small σ alone, where the plain iteration divides by kernels that underflow to 0:
    it takes twenty times as long.
    """
    cost = torch.cdist(x0.detach().flatten(1).double(), x1.detach().flatten(1).double()).square()
    method = "sinkhorn" if float(cost.max()) < LARGEST_EXPONENT * regularisation else "sinkhorn_log"
    plan = require_pot().sinkhorn(
        [], [], cost.cpu().numpy(), regularisation, method=method, numItermax=500, warn=False
    )
    return torch.from_numpy(plan).to(x1.device)
