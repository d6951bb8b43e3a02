"""Continuous normalising flow with an estimated trace (Grathwohl et al. 2019)."""

from __future__ import annotations

from typing import Any

from integrand.diffusion import HutchinsonTrace, Trace
from integrand.diffusion.divergence import Distribution
from integrand.solvers import ODESolver
from integrand.spec import Spec

from .cnf import MaximumLikelihoodFlow


class FFJORD(MaximumLikelihoodFlow):
    """Flow trained by an unbiased estimate of its log-likelihood: one Jacobian product in any dimension.

    The probe ε is drawn once for each batch and stays fixed for the whole solve.

    Args:
        spec: What the data set publishes; the command line fills it in.
        probe: Distribution of the entries of ε.
        probes: Number of ε.
        solver: What integrates the flow in evaluation and sampling.
        train_solver: What integrates it in training; by default dopri5.
        kinetic: Weight of ∫‖f‖² dt, 0 or more (RNODE).
        jacobian: Weight of ∫‖(∂f/∂x) ε‖² dt, 0 or more (RNODE).
        b: Half the width of the random time of the noise in training (STEER).
        eval_trace: How likelihoods get the trace in evaluation; by default exactly in up to 16 dimensions.
        **kwargs: See `GenerativeModule`.
    """

    family = "ffjord"
    title = "Continuous normalising flow with Hutchinson's trace (FFJORD)"
    equation = "ẋ = f(t, x; θ), d log p(x(t))/dt = −E εᵀ(∂f/∂x)ε; max log p"
    reference = (
        "Grathwohl et al. 2019, FFJORD: Free-Form Continuous Dynamics for Scalable Reversible "
        "Generative Models"
    )

    def __init__(
        self,
        spec: Spec,
        probe: Distribution = "rademacher",
        probes: int = 1,
        solver: ODESolver | None = None,
        train_solver: ODESolver | None = None,
        kinetic: float = 0.0,
        jacobian: float = 0.0,
        b: float = 0.0,
        eval_trace: Trace | None = None,
        **kwargs: Any,
    ) -> None:
        trace = HutchinsonTrace(probe, probes)
        super().__init__(spec, trace, solver, train_solver, kinetic, jacobian, b, eval_trace, **kwargs)
