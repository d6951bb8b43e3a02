"""Log-likelihood by the probability-flow ODE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from integrand.solvers import Dopri5, ODESolver, SolveStats
from integrand.solvers.options import require_choice, require_positive

from .change_of_variables import transport
from .denoiser import Denoising
from .divergence import ExactTrace, HutchinsonTrace, Trace
from .errors import GridError, IncompatibleError
from .evaluation import Evaluator
from .guidance import Guidance
from .processes import Process
from .random_numbers import Noise
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
        trace: `exact` takes one Jacobian product per dimension, `hutchinson` one per probe, all in one pass
            of forward mode.
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
        self.trace: Trace = ExactTrace() if trace == "exact" else HutchinsonTrace(probe, probes)

    def log_prob(
        self,
        denoiser: Denoising,
        process: Process,
        x: Tensor,
        noise: Noise | None = None,
        condition: Tensor | None = None,
        guidance: float | Guidance | None = None,
    ) -> LikelihoodResult:
        """Log-likelihood of each sample, without gradients; the network is differentiated by forward mode.

        Args:
            denoiser: The model.
            process: Its process.
            x: Data, shape (batch, ...), taken to lie at t_min.
            noise: Source of the probes, such as `SampleNoise`; not needed for the exact trace.
            condition: Condition of each sample, shape (batch,).
            guidance: Weight of classifier-free guidance.

        Raises:
            IncompatibleError: Hutchinson's estimate without a source of probes, or data that are not real.
            GridError: Nothing is left of the data at the process's end, so that no flow reaches it.
        """
        if not x.is_floating_point():
            raise IncompatibleError(f"a likelihood of data of {x.dtype}", "convert them with .float()")
        if not flows_to_prior(process):
            raise GridError(
                f"α = 0 at t_max of {process.describe()}: the flow's rate is infinite there",
                "take a process that ends before, such as CosineVP(t_max=0.9946)",
            )
        if process.node(process.t_max).alpha == 0 and denoiser.parametrisation.needs_signal:
            kind = denoiser.parametrisation.name
            raise GridError(
                f"α = 0 at t_max of {process.describe()}, where {kind} says nothing of the data",
                "take a model that predicts v or data, or a process that ends before",
            )
        if noise is None and isinstance(self.trace, HutchinsonTrace):
            raise IncompatibleError(
                "Hutchinson's trace needs probes", "pass noise=SampleNoise(seed, …), or set trace: exact"
            )
        evaluate = Evaluator(denoiser, condition, guidance)
        flow = FlowField(evaluate, process, "t")
        times = (process.t_min, process.t_max)
        with torch.no_grad():
            found = transport(flow, x, times, self.solver, self.trace, self.trace.directions(x, noise))
            log_prob = process.prior_log_prob(found.z) + found.log_det
            if flow.failed is not None:
                log_prob = torch.where(flow.failed, torch.nan, log_prob)
        return LikelihoodResult(log_prob, evaluate.nfe, found.z, found.stats)


def flows_to_prior(process: Process) -> bool:
    """Whether the probability flow reaches t_max, where α = 0 only by `Process.path_rates`."""
    return process.node(process.t_max).alpha > 0 or process.path_rates(process.t_max) is not None
