"""Dropout of the residual function or field (Srivastava et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from ..bench import Dynamics
from ..bench.dynamics import Composition
from ..bench.noise_contract import Part
from .held import Factor, HeldNoise
from .steps import Granularity, StepNoise, keep_mask, require, require_per


class Dropout(StepNoise, HeldNoise):
    """x_{n+1} = x_n + Δ_n ⊙ b/q, b ~ Bernoulli(q), q = 1 − p: mean Δ_n and variance (p/q) Δ_n².

    Read as the SDE dX = f dt + √(p/q) f ⊙ dW (Lu et al. 2018). Discrete nets draw a mask in every step,
    vector fields one for each solve. Evaluation is the family without noise, or with `samples` pools the
    probabilities of noisy passes: Monte Carlo dropout, which reads a mask as a draw from an approximate
    posterior of the weights (Gal and Ghahramani 2016). Batch norm stays in evaluation mode.

    Args:
        p: Probability of dropping, as in `torch.nn.Dropout`, 0 ≤ p < 1.
        per: What is dropped together: each `element`, a `channel`, or all of an `image`.
        samples: Noisy passes that evaluation pools; 0 for one pass without noise.

    Raises:
        UsageError: A number is outside its domain.
    """

    pools: ClassVar[bool] = True
    fits: ClassVar[tuple[Composition, ...]] = ("linear", "stages", "field")
    where = "a residual net or a neural ODE"

    def __init__(self, p: float = 0.1, per: Granularity = "element", samples: int = 0) -> None:
        super().__init__()
        self.p = require("p", p, 0 <= p < 1, "0 ≤ p < 1")
        self.per = require_per(per, "element", "channel", "image")
        self.samples = int(require("samples", samples, samples >= 0, "0 or more"))

    @property
    def passes(self) -> int:
        """The number of samples in evaluation; see `Noise.passes`."""
        return self.samples if self.draws_in_evaluation and not self.training else 1

    @property
    def draws_in_evaluation(self) -> bool:
        """With samples; see `Noise.draws_in_evaluation`."""
        return self.stochastic and self.samples > 0

    @property
    def stochastic(self) -> bool:
        """Whether anything is dropped."""
        return self.p > 0

    def factor(self, value: Tensor, n: int) -> Tensor | None:
        """The mask of a step; see `StepNoise.factor`."""
        return self._mask(value)

    def draw(self, y0: Tensor, start: float, end: float) -> Factor | None:
        """The mask of a solve; see `HeldNoise.draw`."""
        mask = self._mask(y0)
        return None if mask is None else lambda t: mask

    def enter(self, dynamics: Dynamics, parts: Sequence[Part]) -> None:
        """As steps or as fields; see `Noise.enter`."""
        fields = any(isinstance(part, Dynamics) and part.composition == "field" for part in parts)
        (HeldNoise if fields else StepNoise).enter(self, dynamics, parts)

    def _mask(self, like: Tensor) -> Tensor | None:
        if not self.p or not (self.training or self.samples):
            return None
        return keep_mask(like, 1 - self.p, self.per) / (1 - self.p)
