"""Noise in the steps of a discrete net: factors of their increments, and noise added to the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError

from ..bench import Dynamics, Noise
from ..bench.dynamics import Composition
from ..bench.noise_contract import Part

Granularity = Literal["element", "channel", "image", "batch"]

FIELD = "white noise is no function of t, so that no ODE solver converges on it"
SECOND_ORDER = "its state holds a velocity or a second half, in which noise would mean something else"


class StepNoise(Noise):
    """x_{n+1} = x_n + g_n Δ_n(x_n) + e_n, with g_n and e_n drawn anew in every step.

    Where each evaluation enters one step linearly, with a factor c, the noise is in the residual functions,
    f̃_n = g_n f_n + e_n / h, because there |c| = h or e_n = 0; elsewhere it is in the whole step.
    """

    fits: ClassVar[tuple[Composition, ...]] = ("linear", "stages")

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        """Steps of the net, over all stages."""

    def factor(self, value: Tensor, n: int) -> Tensor | float | None:
        """The factor g_n; None for 1.

        Args:
            value: Increment or residual function, shape (batch, channels, height, width).
            n: Number of the step, 0 … steps − 1.
        """
        return None

    def addition(self, state: Tensor, like: Tensor, h: float) -> Tensor | None:
        """The term e_n; None for 0.

        Args:
            state: State before the step, shape (batch, channels, height, width).
            like: A map of the shape of the state after it, another one only between stages.
            h: Step size.
        """
        return None

    def enter(self, dynamics: Dynamics, parts: Sequence[Part]) -> None:
        """Hook into residual functions or steps; see `Noise.enter`."""
        self.steps = 0
        for part in parts:
            site = _Site(self, step_size(part), self.steps)
            if isinstance(part, Dynamics) and part.composition == "stages":
                part.on_step = site.on_step
            else:
                part.register_forward_pre_hook(site.begin)
                for field in dict.fromkeys(part.residuals()):
                    field.register_forward_hook(site.on_value)
            self.steps += number_of_steps(part)


class AdditiveNoise(StepNoise):
    """Noise that is added to the state: only where a step is one of a first-order equation."""

    reasons: ClassVar[Mapping[Composition, str]] = {"field": FIELD, "recomputed": SECOND_ORDER}
    where = "a first-order discrete net such as ResNet, or NeuralSDE for continuous depth"

    def why_not(self, dynamics: Dynamics) -> str:
        """Also refuses nets whose state is more than a position; see `Noise.why_not`."""
        reason = super().why_not(dynamics)
        if not reason and not dynamics.first_order:
            return SECOND_ORDER
        return reason


def step_size(part: Part) -> float:
    """H of a part; 1 for a transition, which adds its residual function as it is."""
    return float(part.h) if isinstance(part, Dynamics) else 1.0


def number_of_steps(part: Part) -> int:
    """Evaluations of a `linear` net or a transition, each of them a step; steps of a `stages` net."""
    if not isinstance(part, Dynamics):
        return len(part.residuals())
    blocks = int(part.blocks)
    if part.composition == "stages":
        return blocks
    # tied blocks share one function, reversible ones have two each
    return blocks * max(1, len(part.residuals()) // blocks)


class _Site:
    """Where noise meets one part of the dynamics.

    Args:
        noise: The noise.
        h: Step size of the part.
        first: Number of its first step.
    """

    def __init__(self, noise: StepNoise, h: float, first: int) -> None:
        self.noise = noise
        self.h = h
        self.first = self.n = first

    def begin(self, part: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A forward pass starts."""
        self.n = self.first

    def on_value(self, field: nn.Module, inputs: tuple[Tensor, Tensor], value: Tensor) -> Tensor:
        """A residual function was evaluated at (t, y)."""
        factor, addition = self.noise.factor(value, self.n), self.noise.addition(inputs[1], value, self.h)
        self.n += 1
        if factor is not None:
            value = value * factor
        return value if addition is None else torch.add(value, addition, alpha=1 / self.h)

    def on_step(self, n: int, before: Tensor, after: Tensor) -> Tensor:
        """A step was made."""
        factor = self.noise.factor(before, self.first + n)
        addition = self.noise.addition(before, after, self.h)
        if factor is not None:
            after = before + factor * (after - before)
        return after if addition is None else after + addition


def mask_shape(like: Tensor, per: Granularity) -> tuple[int, ...]:
    """Shape of one draw for each element, channel or image, or for the batch; broadcasts against `like`."""
    kept = {"element": like.ndim, "channel": 2, "image": 1, "batch": 0}[per]
    return (*like.shape[:kept], *[1] * (like.ndim - kept))


def keep_mask(like: Tensor, keep: float, per: Granularity) -> Tensor:
    """Draws b of Bernoulli(keep), 1 or 0 in the dtype of `like`."""
    return like.new_empty(mask_shape(like, per)).bernoulli_(keep)


def require(name: str, value: float, condition: bool, domain: str) -> float:
    """`value`, if it is in its domain.

    Raises:
        UsageError: It is not; says which domain.
    """
    if not condition:
        raise UsageError(f"{name} must be {domain}, got {value}", f"set model.noise.init_args.{name}")
    return value


def require_per(per: Granularity, *known: Granularity) -> Granularity:
    """`per`, if it is one of the known granularities.

    Raises:
        UsageError: It is not.
    """
    if per not in known:
        raise UsageError(
            f"unknown granularity {per!r}", f"set model.noise.init_args.per to one of {', '.join(known)}"
        )
    return per
