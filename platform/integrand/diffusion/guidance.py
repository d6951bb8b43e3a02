"""Classifier-free guidance: its weight, where it acts, and how its contrast is taken back."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.errors import UsageError

from .processes import Node


class Guidance:
    """Out = null + w (conditional − null) (Ho & Salimans 2022, with w there being w − 1 here).

    Outside the interval the conditional model alone is evaluated, which costs one evaluation instead of two.

    Args:
        weight: w; 1 is the plain conditional model.
        rescale: φ, how far the deviation of the guided output is brought back to that of the conditional one
            (Lin et al. 2024, Eq. 15–16); 0 leaves it, 0.7 is their choice.
        low: Lowest noise level σ/α at which guidance acts (Kynkäänniemi et al. 2024, Eq. 6).
        high: Highest.

    Raises:
        UsageError: The weight is not finite, φ leaves [0, 1], or the interval is empty.
    """

    def __init__(self, weight: float, rescale: float = 0.0, low: float = 0.0, high: float = math.inf) -> None:
        if not math.isfinite(weight):
            raise UsageError(f"a guidance weight of {weight}", "1 is the plain conditional model")
        if not 0 <= rescale <= 1:
            raise UsageError(f"rescale must lie in [0, 1], not {rescale:g}", "0.7 is usual")
        if not 0 <= low < high:
            raise UsageError(f"no noise level lies between {low:g} and {high:g}", "low is below high")
        self.weight, self.rescale, self.low, self.high = float(weight), rescale, low, high

    @property
    def plain(self) -> bool:
        """Whether it is the conditional model."""
        return self.weight == 1

    def acts(self, node: Node) -> bool:
        """Whether the node's noise level lies in the interval."""
        return not self.plain and self.low <= node.rho <= self.high

    def combined(self, conditional: Tensor, null: Tensor) -> Tensor:
        """The guided output, shape (batch, ...), from both."""
        guided = torch.lerp(null, conditional, self.weight)
        if not self.rescale:
            return guided
        ratio = _deviation(conditional) / _deviation(guided)
        return guided * (1 - self.rescale + self.rescale * ratio)

    def describe(self) -> str:
        """Such as `w=2`, `w=4 rescale=0.7` or `w=4 in 0.3-5`."""
        words = f"w={self.weight:g}" + (f" rescale={self.rescale:g}" if self.rescale else "")
        bounded = self.low > 0 or self.high < math.inf
        return words + (f" in {self.low:g}-{self.high:g}" if bounded else "")


def as_guidance(value: float | Guidance | None) -> Guidance | None:
    """A weight alone as `Guidance`; None where there is none or it changes nothing."""
    made = Guidance(value) if isinstance(value, int | float) else value
    return None if made is None or made.plain else made


def _deviation(x: Tensor) -> Tensor:
    """Standard deviation of each sample, shape (batch, 1, ...); 1e-12 where all its values are alike."""
    return x.flatten(1).std(1).clamp_min(1e-12).view(-1, *[1] * (x.ndim - 1))
