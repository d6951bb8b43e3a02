"""Which states of a solve are asked for: at common times, at times of each sample, or at every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from integrand.solvers.tape import Integrator

from .between import Between

Rows = tuple[Tensor, Tensor | None]
"""Samples and their θ; None for the end of the step."""


class Steps(Integrator, Protocol):
    """The steps of one solve."""

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""

    def join(self, found: Sequence[Tensor]) -> Tensor:
        """All outputs as one tensor."""


@dataclass(slots=True, frozen=True)
class Picks:
    """The outputs that one step holds.

    Args:
        interior: (output index, θ) of the outputs made inside the step; see `StepRecord`.
        lands: Index of the output that its end is, None where it is none.
        rows: For each interior output of chosen samples, which ones.
    """

    interior: Sequence[tuple[int, float]] = ()
    lands: int | None = None
    rows: Sequence[Rows] = ()

    @property
    def inside(self) -> bool:
        """Whether a state strictly between the ends of the step is asked for."""
        if self.rows:
            return any(theta is not None for _, theta in self.rows)
        return bool(self.interior)


_NOTHING = Picks()


class Outputs(ABC):
    """Takes note of the outputs as a solve passes them; the first one is the initial state."""

    def __init__(self) -> None:
        self.count = 1

    @abstractmethod
    def stops(self) -> Sequence[float]:
        """Times that steps must end on where states between steps are not accurate enough, last one last."""

    @abstractmethod
    def between(self, t: float, t1: float) -> bool:
        """Whether an output lies strictly inside (t, t1)."""

    @abstractmethod
    def pick(self, t: float, used: float, t1: float) -> Picks:
        """The outputs in (t, t1] = (t, t + used], which are then done with."""

    def states(self, picks: Picks, step: Between) -> list[Tensor]:
        """The interior outputs of a step."""
        return [step.at(theta) for _, theta in picks.interior]

    def join(self, outputs: Sequence[Tensor]) -> Tensor:
        """All outputs as one tensor."""
        return torch.stack(list(outputs))


class CommonTimes(Outputs):
    """The same output times for all samples.

    Args:
        times: Strictly monotone; the first is the start.
    """

    def __init__(self, times: Sequence[float]) -> None:
        super().__init__()
        self.times = times
        self.sign = 1.0 if times[-1] > times[0] else -1.0

    def stops(self) -> Sequence[float]:
        """See `Outputs.stops`."""
        return self.times[1:]

    def between(self, t: float, t1: float) -> bool:
        """See `Outputs.between`."""
        return self.count < len(self.times) - 1 and self.sign * (t1 - self.times[self.count]) > 0

    def pick(self, t: float, used: float, t1: float) -> Picks:
        """See `Outputs.pick`."""
        if self.sign * (t1 - self.times[self.count]) < 0:
            return _NOTHING
        interior = []
        while self.between(t, t1):
            interior.append((self.count, (self.times[self.count] - t) / used))
            self.count += 1
        if t1 == self.times[self.count]:
            self.count += 1
            return Picks(interior, self.count - 1)
        return Picks(interior)


class EveryStep(Outputs):
    """The end of every step.

    Args:
        start: First time.
        end: Last time.
    """

    def __init__(self, start: float, end: float) -> None:
        super().__init__()
        self.times, self._end = [start], end

    def stops(self) -> Sequence[float]:
        """See `Outputs.stops`."""
        return (self._end,)

    def between(self, t: float, t1: float) -> bool:
        """See `Outputs.between`."""
        return False

    def pick(self, t: float, used: float, t1: float) -> Picks:
        """See `Outputs.pick`."""
        self.times.append(t1)
        self.count += 1
        return Picks(lands=self.count - 1)


class SampleTimes(Outputs):
    """Output times of each sample's own, in a solve that goes from 0 to 1.

    Outputs are pieces: the states of some samples, joined and put in order at the end.

    Args:
        times: Shape (batch, n), float64, from 0 to 1, on the CPU; samples may repeat times.
        device: Where the states are.
    """

    def __init__(self, times: Tensor, device: torch.device) -> None:
        super().__init__()
        self._shape, self._device = times.shape, device
        flat = times.flatten()
        values, order = torch.sort(flat, stable=True)
        self._values: list[float] = values.tolist()
        self._tensor, self._order = values, order
        self._samples = order // times.shape[1]
        self._next = bisect_right(self._values, 0.0)
        # place of each output among the joined pieces: first the initial states, one for each sample
        place = torch.empty_like(order)
        place[order[: self._next]] = self._samples[: self._next]
        place[order[self._next :]] = len(times) + torch.arange(len(order) - self._next)
        self._place = place.view(self._shape).t().flatten().to(device, non_blocking=True)

    def stops(self) -> Sequence[float]:
        """See `Outputs.stops`."""
        return (1.0,)

    def between(self, t: float, t1: float) -> bool:
        """See `Outputs.between`."""
        return self._next < len(self._values) and self._values[self._next] < t1

    def pick(self, t: float, used: float, t1: float) -> Picks:
        """See `Outputs.pick`."""
        first = self._next
        inner, last = bisect_left(self._values, t1, first), bisect_right(self._values, t1, first)
        rows: list[Rows] = []
        if inner > first:
            theta = (self._tensor[first:inner] - t) / used
            rows.append((self._move(self._samples[first:inner]), self._move(theta)))
        if last > inner:
            rows.append((self._move(self._samples[inner:last]), None))
        interior = [(self.count + i, 0.0) for i in range(len(rows))]
        self.count += len(rows)
        self._next = last
        return Picks(interior, None, rows)

    def states(self, picks: Picks, step: Between) -> list[Tensor]:
        """See `Outputs.states`."""
        return pieces(picks.rows, step)

    def join(self, outputs: Sequence[Tensor]) -> Tensor:
        """All outputs, shape (n, batch, ...)."""
        joined = torch.cat(list(outputs)).index_select(0, self._place)
        batch, n = self._shape
        return joined.view(n, batch, *joined.shape[1:])

    def _move(self, x: Tensor) -> Tensor:
        return x.to(self._device, non_blocking=True)


def pieces(rows: Sequence[Rows], step: Between) -> list[Tensor]:
    """The states of chosen samples, inside a step or at its end."""
    return [
        step.y1.index_select(0, samples) if theta is None else step.at_rows(samples, theta)
        for samples, theta in rows
    ]
