"""Perturbations within a ball that raise a loss: FGSM and projected gradient ascent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import UsageError

Norm = Literal["linf", "l2"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""Loss of every input, shape (n,), of inputs (n, …) and their true classes (n,)."""

# a gradient shorter than this is none: dividing by it would make noise of rounding, or NaN
_NOTHING = 1e-12


@dataclass(frozen=True)
class Ball:
    """Perturbations ‖δ‖ ≤ ε that keep inputs in their range.

    Args:
        norm: `linf` or `l2`, over all numbers of one input.
        eps: ε, in units of the inputs.
        low: Smallest value of an input; None where there is none.
        high: Largest value likewise.

    Raises:
        UsageError: There is no such norm, or ε is negative.
    """

    norm: Norm
    eps: float
    low: float | None = 0.0
    high: float | None = 1.0

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise UsageError(f"there is no norm {self.norm!r}", f"choose from {', '.join(get_args(Norm))}")
        if not self.eps >= 0:
            raise UsageError(f"eps={self.eps} is no radius", "give 0 or more")

    def project(self, x: Tensor, clean: Tensor) -> Tensor:
        """The nearest input in the ball, then in the range, which cannot lead out of the ball again."""
        delta = x - clean
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            delta = delta * (self.eps / lengths(delta).clamp(min=_NOTHING)).clamp(max=1)
        x = clean + delta
        return x if self.low is None and self.high is None else x.clamp(self.low, self.high)

    def direction(self, gradient: Tensor) -> Tensor:
        """Where a linear loss rises fastest within a unit ball; zero where there is no gradient."""
        if self.norm == "linf":
            return gradient.sign()
        size = lengths(gradient)
        return torch.where(size > _NOTHING, gradient / size.clamp(min=_NOTHING), 0.0)

    def start(self, clean: Tensor) -> Tensor:
        """A random input of the ball: uniform, or in l2 of uniform length in a uniform direction."""
        if self.norm == "linf":
            return self.project(clean + self.eps * (2 * torch.rand_like(clean) - 1), clean)
        way = torch.randn_like(clean)
        far = torch.rand(len(clean), *[1] * (clean.ndim - 1), device=clean.device, dtype=clean.dtype)
        return self.project(clean + self.eps * far * way / lengths(way), clean)

    def size(self, x: Tensor, clean: Tensor) -> Tensor:
        """‖x − clean‖ of every input, shape (n,)."""
        delta = (x - clean).flatten(1)
        return delta.abs().amax(1) if self.norm == "linf" else delta.norm(dim=1)


@dataclass(frozen=True)
class Attacked:
    """What an attack made.

    Args:
        x: Perturbed inputs, shape (n, …).
        losses: Mean loss before every step, shape (steps,).
        flat: Share of inputs without a gradient at the first step.
    """

    x: Tensor
    losses: Tensor
    flat: float


def joined(parts: Sequence[Attacked]) -> Attacked:
    """What attacks on parts of the inputs made together."""
    shares = torch.tensor([len(part.x) for part in parts], dtype=torch.float64)
    shares = shares / shares.sum()
    losses = sum(float(s) * part.losses for s, part in zip(shares, parts, strict=True))
    flat = sum(float(s) * part.flat for s, part in zip(shares, parts, strict=True))
    return Attacked(torch.cat([part.x for part in parts]), torch.as_tensor(losses), flat)


def fgsm(loss: Loss, x: Tensor, y: Tensor, ball: Ball) -> Attacked:
    """One step of the fast gradient sign method, x + ε sign ∇L (Goodfellow et al. 2015); in l2 its like."""
    return pgd(loss, x, y, ball, steps=1, step_size=ball.eps, random_start=False)


def pgd(
    loss: Loss,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    steps: int = 20,
    step_size: float | None = None,
    random_start: bool = True,
) -> Attacked:
    """Projected gradient ascent (Madry et al. 2018); every step is one forward and one backward pass.

    Args:
        loss: Of every input.
        x: Clean inputs, shape (n, …).
        y: True classes, shape (n,).
        ball: Perturbations allowed.
        steps: Number of steps, 1 or more.
        step_size: Length of a step in the norm; by default 2.5 ε/steps.
        random_start: Whether it starts at a random place of the ball, by torch's generator.
    """
    size = 2.5 * ball.eps / steps if step_size is None else step_size
    at = ball.start(x) if random_start else x
    losses, flat = [], 0.0
    for step in range(steps):
        value, gradient = _gradient(loss, at, y)
        losses.append(value)
        if step == 0:
            flat = float((lengths(gradient) <= _NOTHING).double().mean())
        at = ball.project(at + size * ball.direction(gradient), x)
    return Attacked(at, torch.stack(losses), flat)


def lengths(x: Tensor) -> Tensor:
    """Euclidean norm of every input, shape (n, 1, …)."""
    norms: Tensor = x.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))
    return norms


def _gradient(loss: Loss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss, and the gradient of every input's own loss."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        values = loss(x, y)
        (gradient,) = torch.autograd.grad(values.sum(), x)
    return values.detach().mean(), gradient
