"""Ensembles of noisy residual nets (Wang et al. 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import Spec

from ..family import FamilyModule
from ..noise import FeynmanKac
from .members import Member, MemberFamily


class EnResNet(MemberFamily):
    """The mean of the logits of n residual nets with noise in their states, trained together as one net.

    Unlike a deep ensemble, the loss is that of the mean. One net is `noise: FeynmanKac`; a draw is a noisy
    pass of one net.

    Args:
        spec: What the data set publishes; the command line fills it in.
        member: The family of the nets with its options, a first-order discrete one; `ResNet` by default.
        size: Number n of nets, 1 or more; En2 and En5 of the paper.
        coef: Noise c, in deviations of the state; see `FeynmanKac`.
        **kwargs: See `MemberFamily`.

    Raises:
        UsageError: There is no net, or the noise does not fit the family.
    """

    family = "en-resnet"
    title = "EnResNet"
    equation = "x_{l+1} = x_l + f(x_l; w_l) + c s(x_l) N(0, I), mean of the logits of n nets"
    reference = "Wang et al. 2019, ResNets Ensemble via the Feynman–Kac Formalism, algorithm 1"

    def __init__(
        self, spec: Spec, member: Member | None = None, size: int = 2, coef: float = 0.1, **kwargs: Any
    ) -> None:
        if size < 1:
            raise UsageError(f"size must be 1 or more, got {size}", "set model.size, the number of nets")
        super().__init__(spec, member, **kwargs)
        self._options["noise"] = FeynmanKac(coef)
        self.members = nn.ModuleList(self.make(number) for number in range(size))
        self.stochastic = coef > 0

    @property
    def networks(self) -> list[FamilyModule]:
        """The nets."""
        return [m for m in self.members if isinstance(m, FamilyModule)]

    def _pooled(self, said: list[Tensor]) -> Tensor:
        return torch.stack(said).mean(dim=0)
