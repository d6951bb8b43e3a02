"""Where along a solve a function of time and state changes its sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from integrand.errors import SpecError

from .dense import Piece
from .runge_kutta.between import Between

BISECTIONS = 60
"""Halvings of a step: the root is then found to the resolution of float64."""
GRID = (1 / 16, 1 / 2, 1.0)
"""Places in a step where signs are looked at, so that two roots half a step apart are not missed."""


@dataclass(frozen=True)
class Event:
    """Something that happens where g(t, y) = 0.

    Args:
        function: g, called as `g(t, y)` with t of shape (batch, 1, ...) and y of shape (batch, ...); returns
            one number for each sample, shape (batch,).
        terminal: Whether the sample's solve ends there.
        direction: 1 for rising g only, -1 for falling g only, 0 for both.
        jump: New state at the event, called as `jump(t, y)` on the whole batch; the solve goes on from it.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    terminal: bool = False
    direction: int = 0
    jump: Callable[[Tensor, Tensor], Tensor] | None = None

    def value(self, t: Tensor, y: Tensor) -> Tensor:
        """g, shape (batch,).

        Raises:
            SpecError: It is not one number for each sample.
        """
        value = self.function(t, y)
        if value.numel() != len(y):
            raise SpecError(
                f"an event of shape {tuple(value.shape)} is not one number for each sample of {len(y)}",
                "return shape (batch,)",
            )
        return value.reshape(len(y))

    @property
    def halts(self) -> bool:
        """Whether the smooth solve ends at the event."""
        return self.terminal or self.jump is not None


@dataclass
class Search:
    """Looks for events in the steps of a solve over s from 0 to 1; see `PerSampleSteps`'s watch.

    Args:
        events: What is looked for.
        time: Time of each sample at its s, shapes (batch,) and (batch,).
        fresh: Which samples start on which event, shape (batch, events): that root is not found again.
    """

    events: Sequence[Event]
    time: Callable[[Tensor], Tensor]
    fresh: Tensor
    found: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    """Event, samples and their s, in the order of steps."""
    halt: Tensor | None = None
    """s at which each sample halts, infinite where it does not."""
    halted_by: Tensor | None = None
    """Number of the event that halted each sample, -1 where none did."""

    def __call__(self, start: Tensor, step: Between | Piece, size: Tensor, taken: Tensor) -> Tensor:
        """Look at one step; returns which samples halt in it."""
        if self.halt is None or self.halted_by is None:
            self.halt = torch.full_like(start, torch.inf)
            self.halted_by = torch.full_like(taken, -1, dtype=torch.long)
        roots = [self._root(k, start, step, size, taken) for k in range(len(self.events))]
        self.fresh = self.fresh & ~taken[:, None]
        halting = [k for k, event in enumerate(self.events) if event.halts]
        stop = torch.full_like(start, torch.inf)
        for k in halting:
            earlier = roots[k] < stop
            stop = torch.where(earlier, roots[k], stop)
            self.halted_by = torch.where(earlier, k, self.halted_by)
        for k, root in enumerate(roots):
            self._note(k, root, stop, self.halted_by if k in halting else None)
        halts = torch.isfinite(stop)
        self.halt = torch.where(halts, stop, self.halt)
        return halts

    def _note(self, k: int, root: Tensor, stop: Tensor, halted_by: Tensor | None) -> None:
        """Keep the roots of event k up to `stop`; with `halted_by`, those at which it halted a sample."""
        reached = (root <= stop) if halted_by is None else (root == stop)
        sample = (torch.isfinite(root) & reached).nonzero().flatten()
        if halted_by is not None:
            sample = sample[halted_by[sample] == k]
        if len(sample):
            self.found.append((k, sample, root[sample]))

    def _root(self, k: int, start: Tensor, step: Between | Piece, size: Tensor, taken: Tensor) -> Tensor:
        """S of the first root of event k in this step, infinite where there is none."""
        event, rows = self.events[k], torch.arange(len(start), device=start.device)

        def g(theta: Tensor) -> Tensor:
            state = step.at_rows(rows, theta)
            t = self.time(start + theta * size.to(start)).view(-1, *[1] * (state.ndim - 1))
            return event.value(t, state)

        places = [torch.full_like(start, theta) for theta in (0.0, *GRID)]
        values = [g(theta) for theta in places]
        values[0] = torch.where(self.fresh[:, k], values[1], values[0])
        low, high = places[0], torch.full_like(start, torch.inf)
        for a, b, before, after in zip(places, places[1:], values, values[1:], strict=False):
            rises = (before < 0) & (after >= 0) & (event.direction >= 0)
            falls = (before > 0) & (after <= 0) & (event.direction <= 0)
            new = (rises | falls) & taken & torch.isinf(high)
            low, high = torch.where(new, a, low), torch.where(new, b, high)
        inside = torch.isfinite(high)
        if not bool(inside.any()):
            return high
        high = torch.where(inside, high, 1.0)
        sign = torch.sign(g(high))
        sign = torch.where(sign == 0, -torch.sign(g(low)), sign)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            beyond = g(middle) * sign >= 0
            low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
        return torch.where(inside, start + high * size.to(start), torch.inf)
