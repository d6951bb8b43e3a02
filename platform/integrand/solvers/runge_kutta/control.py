"""Step-size control of adaptive solves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from integrand.solvers.errors import SolverOptionError
from integrand.solvers.options import require_positive, spell

SAFETY, SHRINK, GROW = 0.8, 0.2, 10.0
"""A step of 0.8 of what the estimate allows is seldom rejected; 0.9 and 0.95 cost more evaluations at equal
error on the problems of `integrand bench precision`, for every method."""
REACH = 1.01
"""How much longer than allowed a step may be to end on a stop."""
Gains = tuple[float, float, float]
INTEGRAL: Gains = (0.0, 1.0, 0.0)

Tolerance = float | Tensor
"""One for all components, or one for each: a tensor that broadcasts against the state of a sample."""


@dataclass(frozen=True)
class StepControl:
    """What an adaptive solve chooses its steps by.

    Args:
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        first_step: First step, chosen from the field where None.
        max_step: Longest step.
        min_step: Shortest step that the error control may ask for.
        force: Take a step of min_step whatever its error, instead of raising.
        pid: Proportional, integral and derivative gain, each divided by the order of the local error.
        jumps: Times where the field jumps: steps end there and begin anew.
        safety: Share of the step that the error estimate would just allow.
    """

    rtol: Tolerance
    atol: Tolerance
    first_step: float | None = None
    max_step: float = math.inf
    min_step: float = 0.0
    force: bool = False
    pid: Gains = INTEGRAL
    jumps: tuple[float, ...] = ()
    safety: float = SAFETY

    def like(self, y: Tensor) -> StepControl:
        """With tolerances of components in the dtype and on the device of a state.

        Raises:
            SolverOptionError: Their number does not fit.
        """
        for x in (self.rtol, self.atol):
            if isinstance(x, Tensor) and x.numel() not in (1, y.shape[-1]):
                raise SolverOptionError(
                    f"{x.numel()} tolerances do not fit states of {y.shape[-1]} components",
                    "pass one for each component along the last dimension, or one for all",
                )
        if not isinstance(self.rtol, Tensor) and not isinstance(self.atol, Tensor):
            return self
        rtol, atol = (x.to(y) if isinstance(x, Tensor) else x for x in (self.rtol, self.atol))
        return replace(self, rtol=rtol, atol=atol)


class PIDController:
    """Next step from the errors of the last ones, Söderlind (2003), eq. 10–13.

    The factor is safety · e_n^{−(P+I+D)/k} e_{n−1}^{(P+2D)/k} e_{n−2}^{−D/k} with k the order of the local
    error.

    Args:
        order: Order of the error estimate, the local error being of order + 1.
        pid: Proportional, integral and derivative gain.
        safety: Share of the step that the error estimate would just allow.
    """

    def __init__(self, order: int, pid: Gains = INTEGRAL, safety: float = SAFETY) -> None:
        k, (p, i, d) = order + 1, pid
        self.safety = safety
        self.powers = ((p + i + d) / k, (p + 2 * d) / k, d / k)
        self.past = (1.0, 1.0)
        self._growth = GROW

    def accepted(self, error: float) -> float:
        """Factor for the next step after an accepted one with this error ratio."""
        factor, (now, before, further) = GROW, self.powers
        previous, last = self.past
        if error > 0:
            factor = self.safety * math.pow(error, -now) * math.pow(previous, before)
            if further:
                factor *= math.pow(last, -further)
        self.past = (max(error, 1e-4), previous)
        factor = min(self._growth, max(SHRINK, factor))
        self._growth = GROW
        return factor

    def rejected(self, error: float) -> float:
        """Factor for the repetition of a rejected step; no growth right after it."""
        self._growth = 1.0
        if not math.isfinite(error):
            return SHRINK
        return min(1.0, max(SHRINK, self.safety * math.pow(error, -self.powers[0])))


def approach(left: float, h: float) -> float:
    """Length of a step that may be h long where `left` is left until the next stop.

    A hair longer than h beats a last step of a hair; two equal steps beat a long one and the remnant,
    Shampine and Watts (1979).
    """
    if left <= REACH * h:
        return left
    return left / 2 if left < 2 * h else h


def tolerance(name: str, value: float | Sequence[float] | Tensor | None, default: float) -> Tolerance:
    """One tolerance, or one for each component as a tensor.

    Raises:
        SolverOptionError: One of them is not positive.
    """
    if value is None:
        return default
    if isinstance(value, int | float):
        require_positive(**{name: value})
        return float(value)
    components = torch.as_tensor(value, dtype=torch.float64)
    if not bool((components > 0).all()):
        raise SolverOptionError(f"{name} must be positive, not {components.tolist()}", f"set {name} above 0")
    return components


def told(value: Tolerance) -> str:
    """A tolerance for names, 1e-3 or 1e-3..1e-2 for components."""
    if not isinstance(value, Tensor):
        return spell(value)
    low, high = value.min().item(), value.max().item()
    return spell(low) if low == high else f"{spell(low)}..{spell(high)}"
