"""Jumps of the state in depth: the Poisson–Bernoulli noise of Liu et al. 2019, in their later code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import EulerScheme, Solution

from ..bench import Dynamics


class JumpingField(nn.Module):
    """f(t, x) + s x Z ΔN/h, Z = ±1 and ΔN ~ Bernoulli(λh), drawn anew for every element and evaluation.

    Args:
        field: f.
        scale: s.
        chance: λh.
        step: h.
    """

    def __init__(self, field: nn.Module, scale: float, chance: float, step: float) -> None:
        super().__init__()
        self.field = field
        self.scale, self.chance, self.step = scale, chance, step

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state x."""
        drawn = torch.rand_like(x)
        # below λh/2 up, from there to λh down
        up, jumps = drawn < self.chance / 2, drawn < self.chance
        jump = up.to(x.dtype) - (jumps & ~up).to(x.dtype)
        value: Tensor = self.field(t, x) + self.scale / self.step * x * jump
        return value


class JumpDynamics(Dynamics):
    """x_{n+1} = x_n + h f(t_n, x_n) + s x_n Z ΔN_n on [0, t1]; without jumps in evaluation.

    Jumps keep the mean, and where f = 0 multiply the second moment by 1 + s²λh in each step.

    Args:
        field: Drift f, called as `field(t, x)`.
        channels: Channels of the state.
        scale: Share s of the state that a jump adds or takes, 0 or more.
        rate: Jumps λ of an element in a unit of time, 0 or more; λh is at most 1.
        t1: End of the interval [0, t1], positive.
        num_steps: Number of steps.
        noisy_evaluation: Whether the state jumps in evaluation too.

    Raises:
        UsageError: A number is out of its domain.
    """

    repeats = True

    def __init__(
        self,
        field: nn.Module,
        channels: int,
        scale: float,
        rate: float,
        t1: float,
        num_steps: int,
        noisy_evaluation: bool,
    ) -> None:
        super().__init__()
        if not 0 <= scale < math.inf:
            raise UsageError(f"sigma must be 0 or more, got {scale}", "set model.sigma, the scale of a jump")
        if not t1 > 0 or num_steps < 1:
            raise UsageError(
                f"t1={t1}, num_steps={num_steps}", "set model.t1 above 0 and model.num_steps to 1 or more"
            )
        self.step = t1 / num_steps
        if not 0 <= rate * self.step <= 1:
            raise UsageError(
                f"rate={rate} gives a jump in a step of {self.step:g} the probability {rate * self.step:g}",
                f"set model.rate between 0 and {1 / self.step:g}, or model.num_steps higher",
            )
        self.out_channels, self.num_steps = channels, num_steps
        self.jumping = JumpingField(field, scale, rate * self.step, self.step)
        self.noisy_evaluation = noisy_evaluation

    def residuals(self) -> list[nn.Module]:
        """The drift."""
        return [self.jumping.field]

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve along one path for each sample; see `Dynamics.forward`. Above 2 times: every step."""
        noisy = self.training or self.noisy_evaluation
        blocks = [self.jumping if noisy else self.jumping.field] * self.num_steps
        return EulerScheme(self.step, keep_all=num_times > 2).solve(blocks, h)
