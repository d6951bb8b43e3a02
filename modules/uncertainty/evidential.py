"""Evidential classification (Sensoy et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.spec import Classes, Spec

from ..family import FamilyModule
from .members import Member, MemberFamily


def squared_risk(alpha: Tensor, truth: Tensor) -> Tensor:
    """E‖y − p‖² over p ~ Dir(α), shape (batch,): Sensoy et al. 2018, eq. 5.

    Args:
        alpha: α, shape (batch, K), positive.
        truth: Class numbers, shape (batch,).
    """
    total = alpha.sum(dim=1, keepdim=True)
    p = alpha / total
    y = F.one_hot(truth, alpha.shape[1])
    return ((y - p).square() + p * (1 - p) / (total + 1)).sum(dim=1)


def misleading(alpha: Tensor, truth: Tensor) -> Tensor:
    """KL(Dir(α̃) ‖ Dir(1)), shape (batch,), α̃ = y + (1 − y) α: the evidence for false classes.

    Args:
        alpha: α, shape (batch, K), positive.
        truth: Class numbers, shape (batch,).
    """
    y = F.one_hot(truth, alpha.shape[1])
    rest = y + (1 - y) * alpha
    return kl_divergence(Dirichlet(rest), Dirichlet(torch.ones_like(rest)))


class Evidential(MemberFamily):
    """A network whose outputs are evidence: p ~ Dir(α) with α = 1 + softplus(o), and p = α/S, S = Σα.

    The network says log α, whose softmax is the mean α/S. It is trained on the expected squared error, and
    more and more on a divergence that takes evidence from false classes. The
    vacuity K/S is 1 where there is no evidence. Validation and test report the cross-entropy of α/S.

    Args:
        spec: What the data set publishes; the command line fills it in.
        member: The family of the network with its options.
        anneal: Training batches over which the weight of the divergence grows to `weight`, 0 or more. Where
            it grows sooner than evidence does, a class can be left without any, and stays so.
        weight: That weight, 0 or more.
        **kwargs: See `MemberFamily`.

    Raises:
        UsageError: A number is out of its domain.
    """

    family = "evidential"
    title = "Evidential network"
    answers = (Classes,)
    equation = "p ~ Dir(α), α = 1 + softplus(f(x; θ)), min E‖y − p‖² + λ KL(Dir(α̃) ‖ Dir(1))"
    reference = "Sensoy et al. 2018, Evidential Deep Learning to Quantify Classification Uncertainty, eq. 5"

    def __init__(
        self,
        spec: Spec,
        member: Member | None = None,
        anneal: int = 5000,
        weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if anneal < 0 or not weight >= 0:
            raise UsageError(
                f"anneal={anneal}, weight={weight}", "set model.anneal and model.weight to 0 or more"
            )
        super().__init__(spec, member, **kwargs)
        self.network = self.make(0)
        self.stochastic = self.network.stochastic
        self.needs_grad_at_eval = self.network.needs_grad_at_eval
        self.anneal, self.weight = anneal, weight

    @property
    def networks(self) -> list[FamilyModule]:
        """The one."""
        return [self.network]

    def translate(self, said: Tensor) -> Tensor:
        """Log α."""
        return torch.log1p(F.softplus(said))

    def doubts(self, x: Any) -> dict[str, Tensor]:
        """The vacuity K/S."""
        alpha = self(x).exp()
        return {"vacuity": alpha.shape[1] / alpha.sum(dim=1)}

    def step(self, batch: Any, stage: str) -> Outcome:
        """Risk and divergence in training; see `MemberFamily` else."""
        if stage != "train":
            return super().step(batch, stage)
        outcome = self.respond(batch)
        assert outcome.prediction is not None
        assert outcome.target is not None
        alpha = outcome.prediction.exp()
        weight = self.weight * (min(1.0, self._seen() / self.anneal) if self.anneal else 1.0)
        outcome.terms = {
            "loss": squared_risk(alpha, outcome.target).mean(),
            "misleading": weight * misleading(alpha, outcome.target).mean(),
            **self.network.penalty(),
        }
        outcome.prediction = outcome.prediction.detach()
        return outcome

    def _seen(self) -> int:
        return 0 if self._trainer is None else self.trainer.global_step
