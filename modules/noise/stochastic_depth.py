"""Stochastic depth (Huang et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from integrand.errors import UsageError

from ..bench.dynamics import Composition
from .steps import Granularity, StepNoise, keep_mask, require, require_per


class StochasticDepth(StepNoise):
    """x_l = x_{l−1} + b_l Δ_l, b_l ~ Bernoulli(p_l), p_l = 1 − (l/L)(1 − p_L), l = 1 … L.

    On average Σ p_l of the L steps remain, (3L − 1)/4 for p_L = ½. Steps are dropped for single images, or
    for the batch as in the paper; dropped steps are evaluated all the same.

    Args:
        survival: Probability p_L that the last step survives, 0 < p_L ≤ 1; 1 is the family without noise.
        per: What a step is dropped for: each `image`, or the `batch`.
        scale: When increments are brought to the same mean: by p_l at `test` (the paper), so that evaluation
            is not the family without noise; or by 1/p_l while they `train` (LM-ResNet).

    Raises:
        UsageError: survival is outside its domain.
    """

    reasons: ClassVar[Mapping[Composition, str]] = {"field": "a field has no steps that could be dropped"}
    where = "a residual net, or Dropout with per: image for continuous depth"

    def __init__(
        self,
        survival: float = 0.5,
        per: Granularity = "image",
        scale: Literal["test", "train"] = "test",
    ) -> None:
        super().__init__()
        self.survival = require("survival", survival, 0 < survival <= 1, "0 < survival ≤ 1")
        self.per = require_per(per, "image", "batch")
        if scale not in ("test", "train"):
            raise UsageError(f"unknown scale {scale!r}", "set model.noise.init_args.scale to test or train")
        self.scale = scale

    @property
    def stochastic(self) -> bool:
        """Whether any step can be dropped."""
        return self.survival < 1

    def survivals(self) -> list[float]:
        """The probabilities p_1 … p_L."""
        return [1 - (n + 1) / self.steps * (1 - self.survival) for n in range(self.steps)]

    def factor(self, value: Tensor, n: int) -> Tensor | float | None:
        """b_l, or its mean in evaluation; see `StepNoise.factor`."""
        p = 1 - (n + 1) / self.steps * (1 - self.survival)
        if not self.stochastic:
            return None
        if not self.training:
            return p if self.scale == "test" else None
        gate = keep_mask(value, p, self.per)
        return gate / p if self.scale == "train" else gate
