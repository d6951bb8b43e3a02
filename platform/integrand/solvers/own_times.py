"""Times of each sample's own: checked, and as one solve from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeGuard, cast

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from .clock import clock_dtype, needs_float64
from .errors import NonFiniteStateError, SolverOptionError


@dataclass(frozen=True)
class OwnTimes:
    """Checked times of a batch.

    Args:
        times: Shape (batch, n), float64, monotone in each row; what is masked repeats the time before it.
        mask: Which of them count, shape (batch, n), None for all.
        told: Dtype of the times that the field is called with, None to find it.
        span: The longest span of a sample, None to find it.
    """

    times: Tensor
    mask: Tensor | None = None
    told: torch.dtype | None = None
    span: float | None = None

    @property
    def start(self) -> Tensor:
        """First time of each sample, shape (batch,), without a graph."""
        return self.times.detach()[:, 0]

    @property
    def end(self) -> Tensor:
        """Last time of each sample, shape (batch,), without a graph."""
        return self.times.detach()[:, -1]

    @cached_property
    def longest(self) -> float:
        """The longest span of a sample."""
        if self.span is not None:
            return self.span
        return (self.end - self.start).abs().max().item() if len(self.times) else 0.0

    @cached_property
    def shares(self) -> Tensor:
        """Where in its sample's span each time lies, 0 to 1, shape (batch, n); 0 where there is no span."""
        span = (self.end - self.start)[:, None]
        shares = (self.times.detach() - self.start[:, None]) / torch.where(span == 0, 1.0, span)
        return torch.where((self.times.detach() == self.end[:, None]) & (span != 0), 1.0, shares)

    def clock(self, y0: Tensor) -> torch.dtype:
        """Dtype of the times that the field is called with; see `clock_dtype`."""
        if self.told is not None:
            return self.told
        largest = self.times.detach().abs().max().item() if self.times.numel() else 0.0
        return clock_dtype(largest, self.longest, y0.dtype, y0.device)

    def gaps(self, y0: Tensor) -> list[OwnTimes]:
        """From each time to the next one, with the clock of the whole."""
        clock = self.clock(y0)
        spans = self.times.detach().diff(dim=1).abs().amax(0).tolist() if len(self.times) else []
        return [OwnTimes(self.times[:, j : j + 2], None, clock, span) for j, span in enumerate(spans)]

    def blank(self, ys: Tensor) -> Tensor:
        """Zero for outputs that are masked, shape (n, batch, ...)."""
        if self.mask is None:
            return ys
        wide = self.mask.t().view(*ys.shape[:2], *[1] * (ys.ndim - 2))
        return torch.where(wide, ys, 0.0)


def own_times_asked_for(t: Tensor | Sequence[Any], mask: Tensor | None) -> TypeGuard[Tensor]:
    """Whether the times are of each sample's own.

    Raises:
        SolverOptionError: They are not, but there is a mask.
    """
    own = isinstance(t, Tensor) and t.ndim == 2
    if mask is not None and not own:
        raise SolverOptionError("a mask needs times of each sample's own", "pass t of shape (batch, n)")
    return own


def own_times(t: Tensor, y0: Tensor, mask: Tensor | None = None) -> OwnTimes:
    """Check times of each sample's own.

    Args:
        t: Shape (batch, n), floating point; each row monotone, up or down, with repetitions where it likes.
        y0: Initial state, shape (batch, ...).
        mask: Which times count, shape (batch, n), bool; the others may hold anything.

    Raises:
        SpecError: The shapes do not fit, or a row turns back.
        NonFiniteStateError: A time that counts is not finite.
    """
    if not isinstance(y0, Tensor) or y0.ndim == 0 or t.shape[0] != len(y0) or not t.shape[1]:
        batch = len(y0) if isinstance(y0, Tensor) and y0.ndim else 1
        raise SpecError(
            f"times of shape {tuple(t.shape)} do not fit a batch of {batch}",
            "pass one row of times for each sample, or one-dimensional times for all",
        )
    times = t.to(y0.device, torch.float32 if y0.device.type == "mps" else torch.float64)
    if mask is not None:
        _check_mask(mask, t)
        mask = mask.to(y0.device)
        times = _fill(times, mask)
    _check_rows(times)
    return OwnTimes(times, mask)


def _check_mask(mask: Tensor, t: Tensor) -> None:
    if mask.shape != t.shape or mask.dtype != torch.bool:
        raise SpecError(
            f"the mask is {mask.dtype} of shape {tuple(mask.shape)}, the times have {tuple(t.shape)}",
            "pass a bool for each time",
        )


def _check_rows(times: Tensor) -> None:
    """Refuse rows that are not finite or turn back; one synchronisation."""
    steps = times.detach().diff(dim=1)
    turns = (steps > 0).any(1) & (steps < 0).any(1)
    finite = torch.isfinite(times.detach()).all(1)
    bad, infinite = torch.stack((turns.any(), ~finite.all())).tolist() if len(times) else (False, False)
    if infinite:
        sample = int((~finite).nonzero()[0])
        raise NonFiniteStateError(f"the times of sample {sample} are not finite", "mask them")
    if bad:
        sample = int(turns.nonzero()[0])
        raise SpecError(
            f"the times of sample {sample} turn back: {times[sample].tolist()}",
            "sort each row; what is padded is masked, or repeats the last time",
        )


def _fill(times: Tensor, mask: Tensor) -> Tensor:
    """Each masked time replaced by the last one before it that counts, or by the first one that does."""
    n = times.shape[1]
    place = torch.arange(n, device=times.device).expand_as(times)
    last = torch.where(mask, place, -1).cummax(1).values
    first = torch.where(mask, place, n).amin(1, keepdim=True).clamp_max(n - 1)
    filled = times.gather(1, torch.where(last < 0, first, last))
    return torch.where(mask.any(1, keepdim=True), filled, 0.0)


class Rescaled(nn.Module):
    """A field over each sample's own span as a field over s from 0 to 1: dy/ds = (end − start) f(t(s), y).

    Args:
        field: Called as `field(t, y)` with t of shape (batch, 1, ...).
        start: First time of each sample, shape (batch,), float64.
        end: Last time of each sample.
        clock: Dtype of the times that the field is called with.
    """

    def __init__(self, field: nn.Module, start: Tensor, end: Tensor, clock: torch.dtype) -> None:
        super().__init__()
        self.field = field
        self._start, self._end, self._span = start, end, end - start
        self._clock = clock
        self._column: Tensor | None = None

    def forward(self, s: Tensor, y: Tensor) -> Tensor:
        """The derivative by s.

        Args:
            s: Shape () or (batch, 1, ...).
            y: State, shape (batch, ...).
        """
        return self.of(self.field, s, y)

    def of(self, function: Callable[[Tensor, Tensor], Tensor], s: Tensor, y: Tensor) -> Tensor:
        """The derivative by s of what `function`, the field or a part of it, is the derivative of by t."""
        shape = (len(y), *[1] * (y.ndim - 1))
        t = torch.lerp(self._start, self._end, s.flatten().to(self._start)).to(self._clock).view(shape)
        try:
            value = function(t, y)
        except RuntimeError as error:
            raise needs_float64(t, y, error) from error
        if value.shape != y.shape:
            raise SpecError(
                f"the field returned shape {tuple(value.shape)} for a state of shape {tuple(y.shape)}",
                "field(t, y) must return dy/dt with the shape of y; t has shape (batch, 1, ...) here",
            )
        if self._column is None or self._column.dtype != y.dtype:
            self._column = self._span.to(y.dtype).view(shape)
        return value.to(y.dtype) * self._column


class InParts(Protocol):
    """A field of several functions, which stays one over shares."""

    def over_shares(self, scale: Rescaled) -> nn.Module:
        """A field of the same kind whose functions are those of `scale`'s field, each through `scale.of`."""


def over_shares(field: nn.Module, start: Tensor, end: Tensor, clock: torch.dtype) -> nn.Module:
    """A field over each sample's own span as a field over s from 0 to 1, of the same kind; see `Rescaled`."""
    scale = Rescaled(field, start, end, clock)
    if not hasattr(field, "over_shares"):
        return scale
    parts = cast(InParts, field)
    return parts.over_shares(scale)
