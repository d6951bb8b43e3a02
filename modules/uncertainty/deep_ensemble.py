"""Deep ensembles (Lakshminarayanan et al. 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.spec import Spec

from ..family import FamilyModule
from .members import Member, MemberFamily


class DeepEnsemble(MemberFamily):
    """M networks of one family that start from independent weights, and the mean of their probabilities.

    The members are trained side by side, each by its own loss and the gradient that it would have alone, and
    see the same batches: where they start is what makes them differ (Fort et al. 2019, Deep Ensembles: A Loss
    Landscape Perspective). The first is the network that its family gives by itself at the same seed. A
    clipped gradient norm is that of all of them.

    Args:
        spec: What the data set publishes; the command line fills it in.
        member: The family of the members with its options.
        size: Number M of members, 2 or more.
        **kwargs: See `MemberFamily`.

    Raises:
        UsageError: There are fewer than two members.
    """

    family = "deep-ensemble"
    title = "Deep ensemble"
    equation = "p(y | x) = (1/M) Σ_m p(y | x; θ_m), θ_m trained from independent starts"
    reference = "Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation"

    def __init__(self, spec: Spec, member: Member | None = None, size: int = 5, **kwargs: Any) -> None:
        if size < 2:
            raise UsageError(f"size must be 2 or more, got {size}", "set model.size, the number of members")
        super().__init__(spec, member, **kwargs)
        self.members = nn.ModuleList(self.make(number) for number in range(size))
        self.stochastic = any(m.stochastic for m in self.networks)
        self.needs_grad_at_eval = any(m.needs_grad_at_eval for m in self.networks)

    @property
    def networks(self) -> list[FamilyModule]:
        """The members."""
        return [m for m in self.members if isinstance(m, FamilyModule)]

    def step(self, batch: Any, stage: str) -> Outcome:
        """In training the sum of the members' losses, of which `loss` is the mean."""
        if stage != "train":
            return super().step(batch, stage)
        outcomes = [member.step(batch, stage) for member in self.networks]
        first = outcomes[0]
        losses = torch.stack([next(iter(o.terms.values())) for o in outcomes])
        total = torch.stack([o.loss for o in outcomes]).sum()
        first.terms = {"loss": losses.mean(), "members": total - losses.mean()}
        first.scores = {}
        if first.prediction is not None:
            first.prediction = self._pooled([o.prediction for o in outcomes if o.prediction is not None])
        first.solves = [stats for o in outcomes for stats in o.solves]
        return first
