"""One step of a diagonally implicit method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..accounts import CountedField
from ..dense import Piece, hermite
from .linear import Jacobian, JacobianMaker, System
from .newton import KAPPA, SLOW, Newton
from .step import Clock, Step, Stepper
from .tableau import DIRKTableau

CONTRACTION = 0.1
"""The contraction up to which a step grows, Gustafsson, Söderlind (1997), who allow more: so relaxation jumps
are met nearer to their time."""
KEEP = 1.4
"""Growth of a step up to which the factors of the step before are kept, by keeping the step."""


class DIRKStepper(Stepper):
    """Newton with one Jacobian for many steps.

    Args:
        tableau: The method.
        implicit: The field, or its stiff part.
        explicit: Its other part, for a tableau with an explicit companion.
        newton: Solves the stages.
        make: Takes a Jacobian.
        clock: Makes times.
    """

    # half proportional: calm where Newton cuts steps short
    pid = (0.5, 0.5, 0.0)

    def __init__(
        self,
        tableau: DIRKTableau,
        implicit: CountedField,
        explicit: CountedField | None,
        newton: Newton,
        make: JacobianMaker,
        clock: Clock,
    ) -> None:
        self.tableau, self.implicit, self.explicit = tableau, implicit, explicit
        self.newton, self.make, self.time = newton, make, clock
        self.error_order = tableau.error_order
        self.slack = KAPPA * newton.rtol
        self._origin: tuple[float, Tensor] | None = None
        self._jacobian: Jacobian | None = None
        self._system: tuple[float, System] | None = None
        self._stale = True
        self._known: tuple[float, dict[CountedField, Tensor]] = (math.nan, {})
        self._last: Tensor | None = None
        self._carried: Tensor | None = None

    def start(self, t: float, y: Tensor) -> Tensor:
        """See `Stepper.start`."""
        self._carried = None
        self._take_jacobian(t, y)
        value = self._at_start(self.implicit, t, y)
        return value if self.explicit is None else value + self._at_start(self.explicit, t, y)

    @property
    def differentiated(self) -> int:
        """Evaluations of one step that gradients pass by, those of implicit stages not counted."""
        return self.tableau.explicit_first + (len(self.tableau.c) if self.explicit else 0)

    def attempt(self, t: float, h: float, y: Tensor) -> Step | None:
        """See `Stepper.attempt`."""
        if self._stale:
            self._take_jacobian(t, y)
        step = self._try(t, h, y)
        if step is None and self._origin is not None and self._origin[0] != t:
            # an old Jacobian may be to blame, not the step
            self._take_jacobian(t, y)
            step = self._try(t, h, y)
        return step

    def settle(self, h: float, grown: float) -> float:
        """See `Stepper.settle`; as it stands where that keeps the factors."""
        newton = self.newton
        self._carried = self._last
        self._stale = newton.rate > SLOW and newton.iterations > 2 * self.tableau.implicit_stages
        if newton.rate > 0 and grown > h:
            # the contraction grows with the step: beyond this one Newton, not the error, would bound it
            allowed = max(h, h * CONTRACTION / newton.rate)
            self._stale |= allowed < grown
            grown = min(grown, allowed)
        return h if not self._stale and h <= grown <= KEEP * h else grown

    def replay(self, t: float, h: float, y: Tensor, data: object) -> Step | None:
        """See `Stepper.replay`."""
        assert isinstance(data, tuple)
        at, state, factored_for, carried = data
        self.forget()
        if self._origin is None or self._origin[1] is not state:
            self._take_jacobian(at, y if at == t else state)
            self._origin = (at, state)
        self._system_for(factored_for)
        if carried is not None and not self.tableau.explicit_first:
            self._carried = carried
        elif carried is not None:
            slope = self._evaluate(self.implicit, self.time(t), y)
            self._carried = _Substituted.apply(slope, carried)  # type: ignore[no-untyped-call]  # torch
        return self._try(t, h, y)

    def forget(self) -> None:
        """See `Stepper.forget`."""
        self._known, self._carried, self._last = (math.nan, {}), None, None
        if self._jacobian is not None:
            self._jacobian.value = self._jacobian.value.detach()

    def _take_jacobian(self, t: float, y: Tensor) -> None:
        if self._stale or self._origin is None or self._origin[0] != t:
            self._jacobian = self.make(self.implicit, self.time(t), y, self.graph)
            self._origin, self._system, self._stale = (t, y.detach()), None, False
            self._at(t)[self.implicit] = self._jacobian.value

    def _system_for(self, step: float) -> System:
        if self._system is None or self._system[0] != step:
            assert self._jacobian is not None
            self._system = (step, self._jacobian.system(step))
        return self._system[1]

    def _try(self, t: float, h: float, y: Tensor) -> Step | None:
        tableau, newton = self.tableau, self.newton
        step = h * tableau.gamma
        system = self._system_for(step)
        newton.begin(y, self.graph)
        stages: list[Tensor] = []
        others: list[Tensor] = []
        base = y
        for i, c in enumerate(tableau.c):
            time = self.time(t + c * h)
            base = combine(y, stages, tableau.a[i], h)
            if self.explicit is not None and tableau.explicit is not None:
                base = combine(base, others, tableau.explicit[i], h)
            if i == 0 and tableau.explicit_first:
                stages.append(self._at_start(self.implicit, t, y) if self._carried is None else self._carried)
                point = y
            else:
                guess = self._guess(i, stages)
                k = newton.stage(time, base, step, guess, system)
                if k is None:
                    return None
                stages.append(k)
                point = torch.add(base, k, alpha=step)
            if self.explicit is not None:
                others.append(
                    self._evaluate(self.explicit, time, point) if i else self._at_start(self.explicit, t, y)
                )
        if tableau.stiffly_accurate:
            end = torch.add(base, stages[-1], alpha=step)
        else:
            end = combine(combine(y, stages, tableau.b, h), others, tableau.b, h)
        with torch.no_grad():
            row = tableau.error_row
            estimate = combine(combine(torch.zeros_like(y), stages, row, h), others, row, h)
            # damped: that of a stiff component would otherwise not go to zero; Hosea, Shampine (1996). Not of
            # an additive method, whose explicit part drives stiff components too: it would hide that error
            error = system.solve(estimate) if self.explicit is None else estimate
        assert self._origin is not None
        if tableau.stiffly_accurate:
            # f at the end as the stage has it: an evaluation would take the stiff part of its error times J
            self._last = stages[-1] if tableau.explicit_first else stages[-1].detach()
        carried = None if self._carried is None else self._carried.detach()
        return Step(
            end,
            error,
            (*self._origin, step, carried),
            polynomial=lambda: self._polynomial(t, h, y, end, carried, stages, others),
        )

    def _polynomial(
        self,
        t: float,
        h: float,
        y: Tensor,
        end: Tensor,
        carried: Tensor | None,
        stages: Sequence[Tensor],
        others: Sequence[Tensor],
    ) -> Piece:
        """The cubic with the slopes of the first and the last stage, which sits at the end of the step.

        An evaluation at the end would take the stiff part of its error times J.
        """
        if self.tableau.explicit_first:
            first = stages[0]
        else:
            first = self._at_start(self.implicit, t, y) if carried is None else carried
        last = stages[-1]
        if others:
            first, last = first + others[0], last + others[-1]
        return hermite(t, h, y, end, first, last)

    def _at(self, t: float) -> dict[CountedField, Tensor]:
        if self._known[0] != t:
            self._known = (t, {})
        return self._known[1]

    def _at_start(self, field: CountedField, t: float, y: Tensor) -> Tensor:
        """The field where the step starts, known from its Jacobian or an attempt before."""
        known = self._at(t)
        if field not in known:
            known[field] = self._evaluate(field, self.time(t), y)
        return known[field]

    def _guess(self, i: int, stages: list[Tensor]) -> Tensor:
        """Where Newton starts for stage i: stages before it, for the first the last of the step before."""
        if stages:
            used = [(k.detach(), w) for k, w in zip(stages, self.tableau.guess_rows[i], strict=True) if w]
            first, weight = used[0]
            guess = first if weight == 1 else first * weight
            return combine(guess, [k for k, _ in used[1:]], [w for _, w in used[1:]], 1.0)
        if self._carried is not None:
            return self._carried
        assert self._jacobian is not None
        return self._jacobian.value.detach()

    def _evaluate(self, field: CountedField, t: Tensor, y: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.graph):
            return field(t, y)


class _Substituted(torch.autograd.Function):
    """A value in the place of one that differs by the error of an iteration; its gradient is the other's."""

    @staticmethod
    def forward(ctx: Any, computed: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def combine(y: Tensor, stages: Sequence[Tensor], weights: Sequence[float], h: float) -> Tensor:
    """Y + h Σ w_i k_i."""
    for k, w in zip(stages, weights, strict=False):
        if w:
            y = torch.add(y, k, alpha=h * w)
    return y
