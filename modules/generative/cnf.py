"""Continuous normalising flow with the exact trace (Chen et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from integrand.diffusion import ExactTrace, Trace
from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.solvers import Dopri5, ODESolver, SolveStats
from integrand.spec import Spec

from .dequantisation import dequantised, likelihood_names
from .flow import FlowModule
from .likelihood import log_likelihood


class MaximumLikelihoodFlow(FlowModule):
    """A flow trained by its own likelihood; subclasses fix how training gets the trace.

    Args:
        spec: What the data set publishes; the command line fills it in.
        trace: How training gets the trace of the Jacobian.
        solver: What integrates the flow in evaluation and sampling.
        train_solver: What integrates it in training; by default dopri5.
        kinetic: Weight λ_K of ∫‖f‖² dt, 0 or more (Finlay et al. 2020).
        jacobian: Weight λ_J of ∫‖∂f/∂x‖²_F dt, or of its estimate by the trace's own probe, 0 or more.
        b: Half the width of the random time of the noise in training, 0 ≤ b < 1 (Ghosh et al. 2020).
        eval_trace: How likelihoods get the trace in evaluation; see `FlowModule`.
        **kwargs: See `GenerativeModule`.

    Raises:
        UsageError: A weight is negative, or b out of range.
    """

    def __init__(
        self,
        spec: Spec,
        trace: Trace,
        solver: ODESolver | None,
        train_solver: ODESolver | None,
        kinetic: float,
        jacobian: float,
        b: float,
        eval_trace: Trace | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, solver, eval_trace, **kwargs)
        for name, weight in (("kinetic", kinetic), ("jacobian", jacobian)):
            if not (weight >= 0 and math.isfinite(weight)):
                raise UsageError(f"{name} must be 0 or more, got {weight}", f"set model.{name}, a weight")
        if not 0 <= b < 1:
            raise UsageError(f"b must lie in [0, 1), got {b}", "set model.b, half the width of the end times")
        self.trace = trace
        self.train_solver: ODESolver = Dopri5() if train_solver is None else train_solver
        self.kinetic, self.jacobian, self.b = kinetic, jacobian, b

    def shards(self) -> list[nn.Module]:
        """None.

        Raises:
            UsageError: Always: the loss solves for the network's field outside of a forward pass.
        """
        raise self.unshardable("its loss is itself a solve, which would exchange weights at every evaluation")

    def objective(self, x: Tensor, y: Tensor | None, stage: str) -> Outcome:
        """Mean −log p of the batch in nats per dimension as `loss`, with `nll` and `bpd`."""
        if stage != "train":
            scores, account = self.likelihood_scores(x)
            nll, *_ = scores.values()
            return Outcome({"loss": nll / self.dim}, len(x), scores, solves=[account])
        end = self.b * (2 * torch.rand(()).item() - 1) if self.b else 0.0
        penalties = self.kinetic > 0 or self.jacobian > 0
        x = dequantised(x, self.modelled)
        found = log_likelihood(self.net, x, self.train_solver, self.trace, penalties, end)
        nll = -found.log_prob.mean()
        terms = {"loss": nll / self.dim}
        # per dimension, as everywhere here, so that weights keep their meaning across sizes
        if self.kinetic and found.kinetic is not None:
            terms["kinetic"] = self.kinetic * found.kinetic.mean() / self.dim
        if self.jacobian and found.jacobian is not None:
            terms["jacobian"] = self.jacobian * found.jacobian.mean() / self.dim
        name, *_ = likelihood_names(nll, self.modelled, self.encoder is not None)
        return Outcome(terms, len(x), {name: nll}, solves=[found.stats])

    def likelihood_scores(self, x: Tensor) -> tuple[dict[str, Tensor], SolveStats]:
        """Mean of −log p of a batch: `nll` in nats, and `bpd` in bits per dimension; and what it cost.

        Of latents it is `latent_nll` alone.

        Images are dequantised first: each grey level becomes uniform over its width, and `bpd` counts bits of
        the levels themselves, an upper bound (Theis et al. 2016).
        """
        found = self.likelihood(dequantised(x, self.modelled))
        nll = -found.log_prob.mean()
        return likelihood_names(nll, self.modelled, self.encoder is not None), found.stats

    def extra_scores(self, data: Tensor, samples: Tensor, stage: str) -> dict[str, float]:
        """In the test also the entropy of the data, where its density is known."""
        scores = super().extra_scores(data, samples, stage)
        return scores | self.entropy_scores(data) if stage == "test" else scores

    def describe_solver(self) -> tuple[str, str]:
        """That of training, which costs most."""
        return self.train_solver.describe(), getattr(self.train_solver, "gradient", "backprop")


class CNF(MaximumLikelihoodFlow):
    """Flow trained by its exact log-likelihood: one Jacobian product per dimension, all in one pass.

    Args:
        spec: What the data set publishes; the command line fills it in.
        solver: What integrates the flow in evaluation and sampling.
        train_solver: What integrates it in training; by default dopri5.
        kinetic: Weight of ∫‖f‖² dt, 0 or more (RNODE).
        jacobian: Weight of ∫‖∂f/∂x‖²_F dt, 0 or more (RNODE).
        b: Half the width of the random time of the noise in training (STEER).
        **kwargs: See `GenerativeModule`.
    """

    family = "cnf"
    title = "Continuous normalising flow"
    equation = "ẋ = f(t, x; θ), d log p(x(t))/dt = −tr ∂f/∂x; max log p"
    reference = "Chen et al. 2018, Neural Ordinary Differential Equations, theorem 1"

    def __init__(
        self,
        spec: Spec,
        solver: ODESolver | None = None,
        train_solver: ODESolver | None = None,
        kinetic: float = 0.0,
        jacobian: float = 0.0,
        b: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            spec, ExactTrace(), solver, train_solver, kinetic, jacobian, b, ExactTrace(), **kwargs
        )
