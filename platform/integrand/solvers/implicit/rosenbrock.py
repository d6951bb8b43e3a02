"""One step of a Rosenbrock method: linear systems instead of Newton's iterations."""

from __future__ import annotations

import torch
from torch import Tensor

from ..accounts import CountedField
from ..dense import Piece
from ..errors import SolverError
from .differentiation import Linearised, linearise
from .linear import Factored
from .step import Clock, Step, Stepper
from .tableau import RosenbrockTableau


class RosenbrockStepper(Stepper):
    """The Jacobian is taken at every step and is part of the method, so of its gradient too.

    Args:
        tableau: The method.
        field: The field.
        clock: Makes times.
        span: Length of the solve in units of t, for a look at how the field depends on t.
    """

    dense = True

    def __init__(self, tableau: RosenbrockTableau, field: CountedField, clock: Clock, span: float) -> None:
        self.tableau, self.field, self.time = tableau, field, clock
        self.error_order = tableau.error_order
        self._span: float | None = span
        self._known: tuple[float, Linearised] | None = None
        self._components = 0

    @property
    def differentiated(self) -> int:
        """Every stage, and the products that the Jacobian was made of."""
        return len(self.tableau.c) + self._components

    def start(self, t: float, y: Tensor) -> Tensor:
        """See `Stepper.start`."""
        return self._linearised(t, y).value

    def replay(self, t: float, h: float, y: Tensor, data: object) -> Step | None:
        """See `Stepper.replay`."""
        self.forget()
        return self.attempt(t, h, y)

    def forget(self) -> None:
        """See `Stepper.forget`."""
        self._known = None

    def attempt(self, t: float, h: float, y: Tensor) -> Step | None:
        """See `Stepper.attempt`; never None: an infinite error says that a system was singular."""
        tableau, found = self.tableau, self._linearised(t, y)
        with torch.set_grad_enabled(self.graph):
            step = h * tableau.gamma
            system = Factored(found.jacobian, step)
            stages: list[Tensor] = []
            for i, c in enumerate(tableau.c):
                if i:
                    point = _sum(y, stages, tableau.a[i])
                    value = self.field(self.time(t + c * h), point)
                else:
                    value = found.value
                right = _sum(value, stages, [m / h for m in tableau.m[i]])
                if found.in_time is not None and tableau.d[i]:
                    right = torch.add(right, found.in_time, alpha=h * tableau.d[i])
                stages.append(system.solve(step * right))
            end = _sum(y, stages, tableau.b)
        error = _sum(torch.zeros_like(y), [u.detach() for u in stages], tableau.e)

        def dense(theta: float) -> Tensor:
            with torch.set_grad_enabled(self.graph):
                p1, p2, p3 = (_sum(torch.zeros_like(y), stages, row) for row in tableau.dense)
                inner = torch.add(p1, torch.add(p2, p3, alpha=theta), alpha=theta)
                return (1 - theta) * y + theta * (end + (1 - theta) * inner)

        def polynomial() -> Piece:
            p1, p2, p3 = (_sum(torch.zeros_like(y), stages, row) for row in tableau.dense)
            return Piece(t, h, y, [end - y + p1, p2 - p1, p3 - p2, -p3])

        return Step(end, error, dense=dense, polynomial=polynomial)

    def _linearised(self, t: float, y: Tensor) -> Linearised:
        if self._known is None or self._known[0] != t:
            found = linearise(self.field, self.time(t), y, graph=self.graph, second=self.graph, time=True)
            self._known, self._components = (t, found), y[0].numel()
            if self._span is not None and found.in_time is None:
                self._refuse_hidden_time(t, y, found.value)
            self._span = None
        return self._known[1]

    @torch.no_grad()
    def _refuse_hidden_time(self, t: float, y: Tensor, value: Tensor) -> None:
        """One evaluation near t, where the graph of the field does not reach t.

        Raises:
            SolverError: The field changes with t after all; without ∂f/∂t the method would lose its order.
        """
        assert self._span is not None
        here = self.time(t)
        nearby = here + torch.finfo(here.dtype).eps ** 0.5 * max(abs(t), abs(self._span))
        if not torch.equal(self.field(nearby, y.detach()), value):
            raise SolverError(
                f"{self.field.stats.solver}: the field depends on t but has no derivative by t",
                "compute with t as a tensor, not through float(t) or t.item(), or use Kvaerno5",
            )


def _sum(y: Tensor, stages: list[Tensor], weights: tuple[float, ...] | list[float]) -> Tensor:
    """Y + Σ w_j u_j."""
    for u, w in zip(stages, weights, strict=False):
        if w:
            y = torch.add(y, u, alpha=w)
    return y
