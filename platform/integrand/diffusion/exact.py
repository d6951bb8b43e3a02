"""Models whose answer is known: Gaussian and Gaussian-mixture data under any process."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .parametrisations import DataPrediction, NoisePrediction, Parametrisation, ScorePrediction, convert
from .processes import Process


class ExactMixture(nn.Module):
    """The exact denoiser of data Σ w_k N(m_k, s_k² I); one component is a Gaussian, s = 0 a point mass.

    The score of x_t is that of Σ w_k N(α m_k, (α² s_k² + σ²) I).

    Args:
        process: The noising process.
        means: m_k, shape (components, d).
        stds: s_k, shape (components,).
        weights: w_k, shape (components,); equal where not given.
        parametrisation: What it predicts; the noise where not given.
    """

    conditional = False
    means: Tensor
    stds: Tensor
    log_weights: Tensor

    def __init__(
        self,
        process: Process,
        means: Tensor,
        stds: Tensor,
        weights: Tensor | None = None,
        parametrisation: Parametrisation | None = None,
    ) -> None:
        super().__init__()
        self.process, self.parametrisation = process, parametrisation or NoisePrediction()
        weights = torch.ones_like(stds) if weights is None else weights
        self.register_buffer("means", means)
        self.register_buffer("stds", stds)
        self.register_buffer("log_weights", (weights / weights.sum()).log())

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The output at x, shape (batch, d), for times t, shape (batch,)."""
        alpha, sigma = (
            f(t.double()).to(x.dtype).view(-1, 1) for f in (self.process.alpha, self.process.sigma)
        )
        gap, log_weights, variance = self._components(x, alpha, sigma)
        responsibility = log_weights.softmax(1)
        if not self.parametrisation.needs_signal and bool((alpha == 0).any()):
            # the score says nothing of the data there
            shrunk = alpha * self.stds.to(x).square() / variance
            means = self.means.to(x) + shrunk.unsqueeze(-1) * gap
            data = responsibility.unsqueeze(-1).mul(means).sum(1)
            return convert(data, x, DataPrediction(), self.parametrisation, alpha, sigma)
        score = -(responsibility / variance).unsqueeze(-1).mul(gap).sum(1)
        return convert(score, x, ScorePrediction(), self.parametrisation, alpha, sigma)

    def log_prob(self, x: Tensor, t: float) -> Tensor:
        """Log p_t(x) in nats, shape (batch,)."""
        node = self.process.node(t)
        alpha, sigma = x.new_full((1, 1), node.alpha), x.new_full((1, 1), node.sigma)
        _, log_weights, _ = self._components(x, alpha, sigma)
        return log_weights.logsumexp(1)

    def _components(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """X − α m_k, shape (batch, k, d); log w_k N(x; …), and variances, both (batch, k)."""
        means, stds = self.means.to(x), self.stds.to(x)
        variance = (alpha * stds).square() + sigma * sigma
        gap = x.unsqueeze(1) - alpha.unsqueeze(-1) * means
        d = x.shape[1]
        density = -0.5 * (gap.square().sum(-1) / variance + d * (2 * torch.pi * variance).log())
        return gap, self.log_weights.to(x) + density, variance
