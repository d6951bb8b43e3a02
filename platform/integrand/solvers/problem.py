"""An initial value problem after its inputs were checked, in the form every solver works on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from .accounts import Counted
from .clock import clock_dtype, rounds_away, times_tensor
from .errors import NonFiniteStateError, SolverOptionError
from .own_times import OwnTimes
from .solution import Solution, SolveStats, Status
from .time_gradients import TimeGradient, gradient_to
from .transforms import refuse_vmap


@dataclass(frozen=True)
class Problem:
    """Checked inputs of one solve.

    Args:
        y0: Initial state in the dtype of the integration, shape (batch, ...).
        times: Output times without repetitions, strictly monotone.
        index: For each requested output its place in `times`; None where nothing was repeated.
        dtype: Dtype of the state that was handed in and that the trajectory is handed back in.
        autocast: Whether the field runs under the autocast state that the caller has set.
        clocked: Carries the gradient to the times where one is asked for.
        exact_clock: Call the field with times in float64 whatever the state's dtype.
        own: Times of each sample's own, `times` then being 0 and 1.
    """

    y0: Tensor
    times: tuple[float, ...]
    index: tuple[int, ...] | None
    dtype: torch.dtype
    autocast: bool = False
    clocked: TimeGradient | None = None
    exact_clock: bool = False
    own: OwnTimes | None = None

    @property
    def trivial(self) -> bool:
        """Whether there is nothing to integrate: one time point, or an empty state."""
        return len(self.times) == 1 or self.y0.numel() == 0

    @property
    def time_dtype(self) -> torch.dtype:
        """float64, or float32 on devices without it."""
        return torch.float32 if self.y0.device.type == "mps" else torch.float64

    @cached_property
    def clock(self) -> torch.dtype:
        """Dtype of the times that the field is called with, where the steps are not known beforehand."""
        return self.time_dtype if self.exact_clock else self.clock_of(None)

    def clock_of(self, step: float | None) -> torch.dtype:
        """Dtype of the times that the field is called with in steps of `step` or more; see `clock_dtype`."""
        if self.exact_clock:
            return self.time_dtype
        times, y0 = self.times, self.y0
        span = abs(times[-1] - times[0])
        return clock_dtype(max(abs(times[0]), abs(times[-1])), span, y0.dtype, y0.device, step)

    def require_state_clock(self, library: str, instead: str) -> None:
        """Refuse times that the state's dtype would round away, for a library that casts them to it.

        Raises:
            SpecError: They would be rounded.
        """
        y0, span = self.y0, abs(self.times[-1] - self.times[0])
        largest = max(abs(self.times[0]), abs(self.times[-1]))
        if rounds_away(largest, span, y0.dtype):
            raise SpecError(
                f"{library} would round times near {largest:.6g} over a span of {span:.6g} to {y0.dtype}",
                f"{instead}, or measure times from the start of the solve",
            )

    def context(self) -> AbstractContextManager[object]:
        """Leaves autocast for the time of the solve unless it was asked for."""
        device = self.y0.device.type
        if self.autocast or not torch.is_autocast_enabled(device):
            return nullcontext()
        return torch.autocast(device, enabled=False)

    def departing(self, counted: Counted, columns: bool = False) -> Tensor:
        """The initial state, through which the gradient reaches the initial time.

        Args:
            counted: The field.
            columns: Whether the field takes t of shape (batch, 1, ...).
        """
        if self.clocked is None:
            return self.y0
        self.clocked.start(counted, self.clock, columns)
        return self.clocked.depart(self.y0)

    def departed(self, counted: Counted) -> Problem:
        """The problem that starts from `departing`.

        Args:
            counted: The field.
        """
        return self if self.clocked is None else replace(self, y0=self.departing(counted))

    def still(self, stats: SolveStats, y0: Tensor | None = None) -> Solution:
        """The solution of a trivial problem: the state stays.

        Args:
            stats: The account.
            y0: The initial state as `departing` gave it, where a gradient to the times is asked for.
        """
        y0 = self.y0 if y0 is None else y0
        n = len(self.times) if self.own is None else self.own.times.shape[1]
        ys = y0.unsqueeze(0).expand(n, *y0.shape)
        return self.finish(ys, stats)

    def finish(
        self,
        ys: Tensor,
        stats: SolveStats,
        status: Status = Status.SUCCESS,
        failed: Tensor | None = None,
    ) -> Solution:
        """The solution in the caller's dtype and with repeated output times put back."""
        times = self.times
        if self.index is not None:
            ys = ys[list(self.index)]
            times = tuple(times[i] for i in self.index)
        if self.clocked is not None:
            ys = self.clocked.arrive(ys)
        if self.own is not None:
            return Solution(self.own.times.detach(), self.own.blank(ys).to(self.dtype), stats, status, failed)
        ts = times_tensor(times, self.time_dtype, self.y0.device)
        return Solution(ts, ys.to(self.dtype), stats, status, failed)


def prepare(
    field: nn.Module,
    y0: Tensor,
    t: Tensor | Sequence[float],
    autocast: bool = False,
    times_gradient: bool = False,
) -> Problem:
    """Check state and times.

    The integration runs in the wider of the dtypes of the state and of the field's parameters, so that a
    bfloat16 state from an autocast stem meets float32 weights in float32.

    Args:
        field: The field, for the dtype of its parameters.
        y0: State at t[0], shape (batch, ...), floating point.
        t: Output times, monotone; neighbours may be equal.
        autocast: Whether the field runs under the caller's autocast.
        times_gradient: Whether the solver gives a gradient with respect to the times.

    Raises:
        SpecError: State or times have the wrong type or shape, or the times are not monotone.
        SolverOptionError: A gradient with respect to t is asked for and the solver gives none, or vmap is at
            work.
        NonFiniteStateError: A time is not finite.
    """
    _check_state(y0)
    refuse_vmap(y0)
    clocked = gradient_to(t)
    if clocked is not None and not times_gradient:
        raise SolverOptionError(
            "the times require a gradient, which this solver does not give",
            "use an explicit Runge–Kutta method, or detach the times",
        )
    times, index = _times(t)
    parameter = next((p for p in field.parameters() if p.is_floating_point()), None)
    dtype = y0.dtype if parameter is None else torch.promote_types(y0.dtype, parameter.dtype)
    if dtype in (torch.float16, torch.bfloat16) and autocast:
        dtype = torch.float32
    return Problem(y0.to(dtype), times, index, y0.dtype, autocast, clocked)


def _check_state(y0: object) -> None:
    if not isinstance(y0, Tensor) or not y0.is_floating_point() or y0.ndim == 0:
        what = f"{y0.dtype} of shape {tuple(y0.shape)}" if isinstance(y0, Tensor) else type(y0).__name__
        raise SpecError(
            f"the initial state must be one floating-point tensor (batch, ...), not {what}",
            "concatenate several states along dim 1; cast integers with .float()",
        )


def _times(t: Tensor | Sequence[Any]) -> tuple[tuple[float, ...], tuple[int, ...] | None]:
    """Times without repetitions, and the place of each in them; None where nothing was repeated."""
    values = _numbers(t)
    if not values:
        raise SpecError("no times to integrate to", "pass at least the initial time")
    if not all(math.isfinite(v) for v in values):
        raise NonFiniteStateError(f"the times are not finite: {values}", "pass finite times")
    unique, index = _without_repetitions(values)
    steps = [b - a for a, b in pairwise(unique)]
    if any(s > 0 for s in steps) and any(s < 0 for s in steps):
        raise SpecError(f"the times turn back: {values}", "sort them; to go there and back, solve twice")
    return tuple(unique), None if len(unique) == len(values) else tuple(index)


def _numbers(t: Tensor | Sequence[Any]) -> list[float]:
    if not isinstance(t, Tensor):
        return [v.item() if isinstance(v, Tensor) else float(v) for v in t]
    if t.ndim != 1:
        raise SpecError(
            f"the times must be one-dimensional for this solver, not of shape {tuple(t.shape)}",
            "pass t.flatten(); for times of each sample's own use Dopri5",
        )
    return [float(v) for v in t.tolist()]


def _without_repetitions(values: Sequence[float]) -> tuple[list[float], list[int]]:
    """The values with equal neighbours merged, and the place of each value among them."""
    unique: list[float] = []
    index: list[int] = []
    for value in values:
        if not unique or value != unique[-1]:
            unique.append(value)
        index.append(len(unique) - 1)
    return unique, index


def grid(times: Sequence[float], step_size: float | None, num_steps: int | None) -> list[list[float]]:
    """Nodes of a fixed-step solve, one list per output interval, both ends included.

    Every output time is a node, so that no output is interpolated; steps inside an interval are equal and
    never longer than asked for.

    Args:
        times: Output times, strictly monotone.
        step_size: Longest step.
        num_steps: Steps over the whole of `times`, where no step size is given; shared out by length, at
            least one for each interval.
    """
    if step_size is None:
        if num_steps is None:
            raise SolverOptionError("a fixed-step solve needs a step", "set step_size or num_steps")
        step_size = abs(times[-1] - times[0]) / num_steps
    nodes = []
    for a, b in pairwise(times):
        # the slack keeps 1/0.1 at ten steps: rounding would otherwise leave a step of 1e-17
        n = max(1, math.ceil(abs(b - a) / step_size * (1 - 1e-12) - 1e-9))
        nodes.append([*(a + (b - a) * (i / n) for i in range(n)), b])
    return nodes


def require_finite(name: str, y: Tensor, t: float, nfe: int) -> None:
    """Refuse a state that became NaN or infinite; one synchronisation where it is finite.

    Raises:
        NonFiniteStateError: Names the solver, t and NFE.
    """
    if torch.compiler.is_exporting():
        return  # a graph that is written to a file cannot ask
    # a finite sum is of finite numbers, for a third of the kernels; a sum can overflow by itself
    if not math.isfinite(y.sum().item()) and not bool(torch.isfinite(y).all()):
        raise not_finite(name, f"at t={t:.6g} (NFE {nfe})")


def not_finite(name: str, where: str) -> NonFiniteStateError:
    """The error for a state that is not finite at `where`."""
    return NonFiniteStateError(
        f"{name}: the state or the field is not finite {where}",
        "lower the learning rate, bound the field, or take smaller steps",
    )
