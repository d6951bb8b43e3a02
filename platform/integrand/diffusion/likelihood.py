"""Log-likelihood by the probability-flow ODE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from integrand.solvers import Dopri5, ODESolver, SolveStats
from integrand.solvers.options import require_choice, require_positive

from .denoiser import Denoising
from .errors import IncompatibleError
from .evaluation import Evaluator
from .noise import Noise, Stream
from .processes import Process
from .samplers.probability_flow import FlowField


@dataclass
class LikelihoodResult:
    """Log-likelihoods and what they cost.

    Args:
        log_prob: log p(x) in nats, shape (batch,); estimated without bias for `hutchinson`, NaN for samples
            whose flow is not finite.
        nfe: Network evaluations per sample of the solve.
        x_T: The latent each sample flows to, shape (batch, ...).
        stats: The solver's account.
    """

    log_prob: Tensor
    nfe: int
    x_T: Tensor
    stats: SolveStats

    def bits_per_dim(self, levels: int | None = None, width: float = 2.0) -> Tensor:
        """−log₂ p per dimension, shape (batch,).

        Args:
            levels: For data that were integers below `levels`, dequantised and scaled to an interval of
                `width`: bits of the integers; None for bits of the scaled data.
            width: See levels; 2 for [−1, 1].
        """
        d = self.x_T[0].numel()
        return -self.log_prob / (d * math.log(2)) + (math.log2(levels / width) if levels else 0.0)


class Likelihood:
    """log p(x) = log p_T(x_T) + ∫ div dt along the probability-flow ODE (Song et al. 2021, Eq. 39).

    The density is that of the process's t_min, the prior that of its t_max.

    Args:
        solver: Any ODE solver; Dopri5 at 1e-5 where not given.
        trace: `exact` takes one vector-Jacobian product per dimension, `hutchinson` one per probe.
        probe: Distribution of the probes, drawn once per sample and kept for the whole solve.
        probes: Number of probes that are averaged.
    """

    def __init__(
        self,
        solver: ODESolver | None = None,
        trace: Literal["hutchinson", "exact"] = "hutchinson",
        probe: Literal["rademacher", "gaussian"] = "rademacher",
        probes: int = 1,
    ) -> None:
        require_choice("trace", trace, ("hutchinson", "exact"))
        require_choice("probe", probe, ("rademacher", "gaussian"))
        require_positive(probes=probes)
        self.solver: ODESolver = solver or Dopri5()
        self.trace, self.probe, self.probes = trace, probe, probes

    def log_prob(
        self,
        denoiser: Denoising,
        process: Process,
        x: Tensor,
        noise: Noise | None = None,
        condition: Tensor | None = None,
        guidance: float | None = None,
    ) -> LikelihoodResult:
        """Log-likelihood of each sample; differentiates the network even where gradients are off.

        Args:
            denoiser: The model.
            process: Its process.
            x: Data, shape (batch, ...), taken to lie at t_min.
            noise: Source of the probes, such as `SampleNoise`; not needed for the exact trace.
            condition: Condition of each sample, shape (batch,).
            guidance: Weight of classifier-free guidance.

        Raises:
            IncompatibleError: Hutchinson's estimate without a source of probes.
        """
        evaluate = Evaluator(denoiser, condition, guidance)
        probes = self._probes(noise)
        # inference tensors cannot be differentiated, whatever mode is entered later
        with torch.inference_mode(False), torch.no_grad():
            state = torch.cat((x.clone().flatten(1), x.new_zeros(len(x), 1)), 1)
            flow = FlowField(evaluate, process, "t")
            augmented = _Augmented(flow, x.shape, [p.clone() for p in probes])
            solution = self.solver.solve(augmented, state, [process.t_min, process.t_max])
            end = solution.ys[-1]
            x_T = end[:, :-1].view(x.shape)
            log_prob = process.prior_log_prob(x_T) + end[:, -1]
            if flow.failed is not None:
                log_prob = torch.where(flow.failed, torch.nan, log_prob)
        return LikelihoodResult(log_prob, evaluate.nfe, x_T, solution.stats)

    def _probes(self, noise: Noise | None) -> list[Tensor]:
        if self.trace == "exact":
            return []
        if noise is None:
            raise IncompatibleError(
                "Hutchinson's trace needs probes", "pass noise=SampleNoise(seed, …), or set trace: exact"
            )
        drawn = [noise.normals(k, Stream.PROBE) for k in range(self.probes)]
        if self.probe == "gaussian":
            return drawn
        return [torch.where(p >= 0, 1.0, -1.0).to(p) for p in drawn]


class _Augmented(nn.Module):
    """State and log-density, (batch, d + 1), flowing together.

    Args:
        field: The probability flow.
        shape: Shape of the state, (batch, ...).
        probes: Probes, each of that shape; empty for the exact trace.
    """

    def __init__(self, field: FlowField, shape: torch.Size, probes: list[Tensor]) -> None:
        super().__init__()
        self.field, self.shape = field, shape
        self.probes = [p.flatten(1) for p in probes]

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Slope and divergence."""
        with torch.inference_mode(False), torch.enable_grad():
            x = y[:, :-1].detach().clone().requires_grad_()
            slope = self.field(t, x.view(self.shape)).flatten(1)
            divergence = self._hutchinson(slope, x) if self.probes else self._exact(slope, x)
        return torch.cat((slope.detach(), divergence.unsqueeze(1)), 1)

    def _hutchinson(self, slope: Tensor, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for k, probe in enumerate(self.probes):
            keep = k < len(self.probes) - 1
            (product,) = torch.autograd.grad(slope, x, probe.to(slope), retain_graph=keep)
            total += (product * probe).sum(1)
        return total / len(self.probes)

    def _exact(self, slope: Tensor, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        d = slope.shape[1]
        for k in range(d):
            (row,) = torch.autograd.grad(slope[:, k].sum(), x, retain_graph=k < d - 1)
            total += row[:, k]
        return total
