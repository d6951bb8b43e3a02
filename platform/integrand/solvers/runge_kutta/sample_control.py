"""Step-size control with one step for each sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from integrand.solvers.step_size import GROW, INTEGRAL, SHRINK

from .control import StepControl
from .step import sum_stages
from .tableau import Tableau


@dataclass(slots=True)
class Move:
    """One step of all samples before its errors are known.

    Args:
        active: Which samples are on their way.
        lands: Which of them end on their next stop.
        used: Step of each, 0 for those that wait.
        end: Time at its end.
        size: `used`, signed, as a column that broadcasts against the state.
        times: Time of each stage, as columns.
    """

    active: Tensor
    lands: Tensor
    used: Tensor
    end: Tensor
    size: Tensor
    times: list[Tensor]


class SampleControl:
    """Chooses each sample's steps by its own error.

    Args:
        tableau: The method.
        control: What the steps are chosen by.
    """

    def __init__(self, tableau: Tableau, control: StepControl) -> None:
        assert tableau.error_order is not None
        self._control = control
        self._exponent = 1 / (tableau.error_order + 1)
        self._error_row = tableau.error_row
        self._past: list[Tensor] = []
        self._rejected = torch.zeros((), dtype=torch.bool)

    @torch.no_grad()
    def error(self, stages: list[Tensor], h: Tensor, y: Tensor, y1: Tensor) -> Tensor:
        """RMS of the error estimate over tolerance, shape (batch,)."""
        scale = torch.maximum(y.abs(), y1.abs()).mul_(self._control.rtol).add_(self._control.atol)
        ratio = sum_stages(stages, self._error_row, h).div_(scale)
        return self._rms(ratio)

    def _rms(self, x: Tensor) -> Tensor:
        flat = x.detach().flatten(1)
        norm: Tensor = torch.linalg.vector_norm(flat, dim=1)
        return (norm / math.sqrt(max(1, flat.shape[1]))).to(wide_dtype(x))

    def _ratio(self, x: Tensor, scale: Tensor) -> Tensor:
        """RMS of x / scale, in float64 for the samples whose squares leave the range of float32."""
        rms = self._rms(x / scale)
        wide = self._rms(x.to(wide_dtype(x)) / scale)
        return torch.where(torch.isfinite(rms), rms, wide)

    def forced(self, used: Tensor, error: Tensor) -> Tensor:
        """Which samples take their step whatever its error."""
        forced = torch.isfinite(error) & (used <= self._control.min_step)
        return forced if self._control.force else torch.zeros_like(forced)

    def _factor(self, error: Tensor, taken: Tensor) -> Tensor:
        """By how much each sample's step may change."""
        if self._control.pid == INTEGRAL:
            return error.clamp_min(1e-12).pow(-self._exponent)
        p, i, d = (gain * self._exponent for gain in self._control.pid)
        if not self._past:
            self._past = [torch.ones_like(error), torch.ones_like(error)]
        previous, last = self._past
        factor = error.clamp_min(1e-12).pow(-(p + i + d)) * previous.pow(p + 2 * d) * last.pow(-d)
        self._past = [
            torch.where(taken, error.clamp_min(1e-4), previous),
            torch.where(taken, previous, last),
        ]
        return torch.where(taken, factor, error.clamp_min(1e-12).pow(-(p + i + d)))

    def next(self, h: Tensor, move: Move, error: Tensor, taken: Tensor) -> Tensor:
        """Next step sizes, each sample by its own error."""
        factor = self._factor(error, taken).mul(self._control.safety).clamp(SHRINK, GROW)
        factor = torch.where(torch.isfinite(error), factor, SHRINK)
        # no growth by a rejected step, nor right after one
        wanted = move.used * torch.where(taken & ~self._rejected, factor, factor.clamp_max(1.0))
        self._rejected = torch.where(move.active, ~taken, self._rejected)
        # the step that only met an output says nothing against the longer one before it
        wanted = torch.where(taken & move.lands, torch.maximum(wanted, h), wanted)
        if self._control.min_step:
            floor = torch.full_like(wanted, self._control.min_step)
            if not self._control.force:
                floor = torch.where(taken, floor, 0.0)
            wanted = torch.maximum(wanted, floor)
        return torch.where(move.active, wanted.clamp_max(self._control.max_step), h)

    def first(self, y: Tensor, k1: Tensor, trial: Callable[[Tensor], Tensor], span: float) -> Tensor:
        """First steps, as `initial_step` finds one for a batch.

        Args:
            y: State at the start, shape (batch, ...).
            k1: The field there.
            trial: The field after an Euler step of the length it is given, shape (batch,).
            span: Length of the solve.
        """
        control = self._control
        scale = y.abs().mul(control.rtol).add_(control.atol)
        d0, d1 = self._ratio(y, scale), self._ratio(k1, scale)
        h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1).clamp_max(span)
        h0 = torch.where(torch.isfinite(h0) & (h0 > 0), h0, 1e-6)
        d2 = self._ratio(trial(h0) - k1, scale) / h0
        steepest = torch.maximum(d1, d2)
        h1 = torch.where(steepest <= 1e-15, (1e-3 * h0).clamp_min(1e-6), (0.01 / steepest) ** self._exponent)
        # no step of zero: it would be accepted for ever
        h = torch.minimum(100 * h0, torch.where(torch.isfinite(h1) & (h1 > 0), h1, h0))
        return h.clamp_min(control.min_step).clamp_max(min(span, control.max_step))


def wide_dtype(x: Tensor) -> torch.dtype:
    """float64, or float32 on devices without it."""
    return torch.float32 if x.device.type == "mps" else torch.float64
