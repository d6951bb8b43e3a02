"""What the steps of an explicit solve are chosen by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from integrand.solvers.errors import SolverOptionError
from integrand.solvers.options import require_positive, spell
from integrand.solvers.step_size import INTEGRAL, SAFETY, Gains

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
