"""Symplectic methods as sequences of kicks and drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from ..accounts import CountedField
from ..reversible_schemes import Scheme, State
from .fields import SeparableField


@dataclass(frozen=True)
class Splitting:
    """A step of kicks p += b h force(q) and drifts q += a h velocity(p), a kick first and last.

    The force of the last kick is that of the next step's first, so that a step costs as many evaluations as
    it has drifts.

    Args:
        kicks: The b_i, one more than there are drifts; their sum is 1.
        drifts: The a_i; their sum is 1.
    """

    kicks: tuple[float, ...]
    drifts: tuple[float, ...]

    @cached_property
    def force_times(self) -> tuple[float, ...]:
        """When the force is asked for, in steps: after each drift."""
        return (*list(accumulate(self.drifts))[:-1], 1.0)

    @cached_property
    def velocity_times(self) -> tuple[float, ...]:
        """When the velocity is asked for, in steps: after each kick but the last."""
        return tuple(accumulate(self.kicks))[:-1]


def composed(weights: Sequence[float]) -> Splitting:
    """Leapfrog steps of the lengths given, neighbouring kicks joined; Yoshida (1990)."""
    kicks = [weights[0] / 2]
    kicks += [(a + b) / 2 for a, b in pairwise(weights)]
    return Splitting((*kicks, weights[-1] / 2), tuple(weights))


class KicksAndDrifts(Scheme):
    """A splitting on one field; carries the force beside the state.

    Args:
        field: The field, for its velocity.
        counted: Its force, counted: one evaluation of the force and the velocity that goes with it is one.
        splitting: The method.
    """

    def __init__(self, field: SeparableField, counted: CountedField, splitting: Splitting) -> None:
        super().__init__(counted, 1.0)
        self.field, self.splitting = field, splitting

    def first(self, t: Tensor, y: Tensor) -> Tensor:
        """See `Scheme.first`."""
        q, p = y.chunk(2, dim=1)
        force = self.counted(t, q)
        self.counted.remember(force.detach())
        return torch.cat((self.field.velocity(t, p), force), dim=1)

    def differentiated(self, steps: int) -> int:
        """See `Scheme.differentiated`."""
        return 1 + steps * len(self.splitting.drifts)

    def start(self, t: Tensor, y: Tensor) -> State:
        """The force is carried along."""
        return y, self.counted(t, y.chunk(2, dim=1)[0])

    def step(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """As many evaluations as drifts."""
        y, force = state
        method = self.splitting
        q, p = y.chunk(2, dim=1)
        p = torch.add(p, force, alpha=h * method.kicks[0])
        for i, drift in enumerate(method.drifts):
            q = torch.add(q, self._velocity(t0, h, i, p), alpha=h * drift)
            force = self.counted(self._force_time(t0, t1, h, i), q)
            p = torch.add(p, force, alpha=h * method.kicks[i + 1])
        return torch.cat((q, p), dim=1), force

    def undo(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """The same steps backwards."""
        y, force = state
        method = self.splitting
        q, p = y.chunk(2, dim=1)
        for i in reversed(range(len(method.drifts))):
            p = torch.add(p, force, alpha=-h * method.kicks[i + 1])
            q = torch.add(q, self._velocity(t0, h, i, p), alpha=-h * method.drifts[i])
            time = t0 if i == 0 else self._force_time(t0, t1, h, i - 1)
            force = self.counted(time, q)
        p = torch.add(p, force, alpha=-h * method.kicks[0])
        return torch.cat((q, p), dim=1), force

    def distance(self, state: State, h: float) -> float:
        """There is one copy of the state only."""
        return 0.0

    def _velocity(self, t0: Tensor, h: float, i: int, p: Tensor) -> Tensor:
        return self.field.velocity(t0 + h * self.splitting.velocity_times[i], p)

    def _force_time(self, t0: Tensor, t1: Tensor, h: float, i: int) -> Tensor:
        share = self.splitting.force_times[i]
        return t1 if share == 1.0 else t0 + h * share


class Force(nn.Module):
    """The force of a field as a module to be counted."""

    def __init__(self, field: SeparableField) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, q: Tensor) -> Tensor:
        """Force at q."""
        return self.field.force(t, q)
