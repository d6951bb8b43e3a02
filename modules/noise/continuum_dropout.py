"""Continuum dropout: dropout for neural differential equations (arXiv 2511.10446, 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..bench.dynamics import Composition
from .held import Factor, HeldNoise
from .steps import require


@dataclass(frozen=True)
class AlternatingRenewal:
    """Paths that are on and off in turn, for times of Exp(λ₁) and Exp(λ₂).

    Args:
        starts_on: Whether a path starts on, any shape.
        switches: Increasing times at which the paths switch, shape (n, *starts_on.shape).
    """

    starts_on: Tensor
    switches: Tensor

    def __call__(self, t: Tensor) -> Tensor:
        """1 where the paths are on at t, a 0-d tensor or one that broadcasts against the paths; else 0."""
        odd = (self.switches <= t).sum(0) % 2 == 1
        return (odd ^ self.starts_on).to(self.switches.dtype)

    @classmethod
    def draw(
        cls, like: Tensor, on_rate: float, off_rate: float, start: float, end: float
    ) -> AlternatingRenewal:
        """Stationary paths on [start, end], one for each element of `like`.

        Args:
            like: Gives shape, dtype and device.
            on_rate: Rate λ₁ at which a path that is on goes off.
            off_rate: Rate λ₂ at which one that is off goes on.
            start: First time.
            end: Last time.
        """
        starts_on = torch.rand_like(like) < off_rate / (on_rate + off_rate)
        on, time = starts_on, torch.full_like(like, start)
        switches: list[Tensor] = []
        while not switches or bool((time <= end).any()):
            waiting = torch.empty_like(like).exponential_()
            time = time + torch.where(on, waiting / on_rate, waiting / off_rate)
            switches.append(time)
            on = ~on
        return cls(starts_on, torch.stack(switches))


class ContinuumDropout(HeldNoise):
    """ẏ = I(t) ⊙ f(t, y): each coordinate of the state goes on and off, and stands still while off.

    The on-times are Exp(λ₁), the off-times Exp(λ₂), with the dropout rate p = λ₁/(λ₁ + λ₂) and the expected
    number m = T/(1/λ₁ + 1/λ₂) of renewals on an interval of length T. Paths start in their stationary law, so
    that a coordinate is on with probability 1 − p at every time. Fixed steps that are short beside T/m see
    most switches; an adaptive solver has to find them, and pays for it.

    Args:
        p: Share p of the time that a coordinate is off, 0 ≤ p < 1; 0 is the neural ODE.
        renewals: Expected number m of cycles of one on-time and one off-time, positive.
        samples: Evaluation averages the logits of this many noisy passes; 0 for one deterministic pass in
            which I(t) is replaced by its mean 1 − p.

    Raises:
        UsageError: A number is outside its domain.
    """

    fits: ClassVar[tuple[Composition, ...]] = ("field",)
    reasons: ClassVar[Mapping[Composition, str]] = dict.fromkeys(
        ("linear", "stages", "recomputed"),
        "a coordinate goes on and off in continuous time",
    )
    where = "a neural ODE; for discrete nets there is Dropout"

    def __init__(self, p: float = 0.1, renewals: float = 5.0, samples: int = 0) -> None:
        super().__init__()
        self.p = require("p", p, 0 <= p < 1, "0 ≤ p < 1")
        self.renewals = require("renewals", renewals, 0 < renewals < float("inf"), "positive")
        self.samples = int(require("samples", samples, samples >= 0, "0 or more"))

    @property
    def passes(self) -> int:
        """The number of samples in evaluation; see `Noise.passes`."""
        return self.samples if self.draws_in_evaluation and not self.training else 1

    @property
    def stochastic(self) -> bool:
        """Whether anything is dropped."""
        return self.p > 0

    @property
    def draws_in_evaluation(self) -> bool:
        """With samples; see `Noise.draws_in_evaluation`."""
        return self.stochastic and self.samples > 0

    def rates(self, length: float) -> tuple[float, float]:
        """λ₁ and λ₂ for an interval of `length`."""
        per_time = self.renewals / abs(length)
        return per_time / (1 - self.p), per_time / self.p

    def draw(self, y0: Tensor, start: float, end: float) -> Factor | None:
        """The paths of a solve, or their mean; see `HeldNoise.draw`."""
        if not self.p:
            return None
        if not self.training and not self.samples:
            return lambda t: 1 - self.p
        return AlternatingRenewal.draw(y0.detach(), *self.rates(end - start), start, end)
