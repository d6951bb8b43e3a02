"""The implicit midpoint rule, for Hamiltonians that do not separate."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..accounts import CountedField
from ..errors import SolverError
from ..problem import Problem
from ..reversible_schemes import Scheme, State
from ..solution import SolveStats
from ..transforms import refuse_transforms_of
from .base import SymplecticSolver

MAX_ITERATIONS = 50
"""Iterations after which a step is given up; a contraction of one half needs 50 to reach rounding."""


class ImplicitMidpoint(SymplecticSolver):
    """y₁ = y₀ + h f(t + h/2, (y₀ + y₁) / 2): order 2, symplectic for every Hamiltonian, any field.

    Hairer, Lubich, Wanner (2006), Geometric Numerical Integration, VI.4. The equation of a step is solved by
    fixed-point iteration to rounding, which needs h |∂f/∂y| < 2: it is no method for stiff fields. The
    gradient solves the transposed equation likewise, so it is that of the exact step.
    """

    order: ClassVar[int | None] = 2

    def _check(self, field: nn.Module, y0: Tensor) -> None:
        """Every field will do."""
        refuse_transforms_of(type(self).__name__)

    def _scheme(self, field: nn.Module, problem: Problem, stats: SolveStats) -> Scheme:
        return _Midpoint(self._counted(field, problem, stats))


class _Midpoint(Scheme):
    """The rule on one field; the state is y alone."""

    def __init__(self, counted: CountedField) -> None:
        super().__init__(counted, 1.0)
        self._guess: Tensor | None = None

    def differentiated(self, steps: int) -> int:
        """One evaluation in each step; the products of the transposed iteration count themselves."""
        return steps

    def start(self, t: Tensor, y: Tensor) -> State:
        """Nothing is carried along."""
        return (y,)

    def step(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """As many evaluations as the iteration takes, and one with a graph where there is a gradient."""
        (y,) = state
        time = t0 + h / 2
        middle = self._solve(time, h, y.detach())
        if not torch.is_grad_enabled():
            return (2 * middle - y,)
        return (2 * self._attach(time, h, y, middle) - y,)

    def undo(self, t0: Tensor, t1: Tensor, h: float, state: State) -> State:
        """The step with -h; its middle is the guess of the step that is then differentiated."""
        (y,) = state
        middle = self._guess = self._solve(t0 + h / 2, -h, y)
        return (2 * middle - y,)

    def distance(self, state: State, h: float) -> float:
        """There is one copy of the state only."""
        return 0.0

    @torch.no_grad()
    def _solve(self, time: Tensor, h: float, y: Tensor) -> Tensor:
        """The middle m = y + h/2 f(time, m), to rounding."""
        vjps = self.counted.stats.vjps
        guess, self._guess = self._guess, None
        middle = y if guess is None else guess
        before = torch.inf
        for _ in range(MAX_ITERATIONS):
            new = torch.add(y, self.counted(time, middle), alpha=h / 2)
            change = float(torch.linalg.vector_norm(new - middle))
            size = float(torch.linalg.vector_norm(new))
            middle = new
            if _rounded(change, before, size, y.dtype):
                self.counted.stats.vjps = vjps  # iterations differentiate nothing
                return middle
            before = change
        raise SolverError(
            f"{self.counted.stats.solver}: the step of {abs(h):.3g} at t={time.item():.6g} did not converge "
            f"in {MAX_ITERATIONS} iterations",
            "take smaller steps, or an implicit Runge–Kutta method for stiff fields",
        )

    def _attach(self, time: Tensor, h: float, y: Tensor, middle: Tensor) -> Tensor:
        """The middle with the gradient of its equation: u = g + h/2 Jᵀ u for every cotangent g."""
        leaf = middle.detach().requires_grad_()
        value = self.counted(time, leaf)
        attached = torch.add(y, value, alpha=h / 2)
        stats = self.counted.stats

        def transposed(g: Tensor | None) -> Tensor | None:
            if g is None:  # what no output depends on
                return None
            if torch.is_grad_enabled():
                raise SolverError(
                    "the implicit midpoint rule has no second derivative, but create_graph=True asks for one",
                    "use an explicit method with gradient: backprop",
                )
            u, before = g, torch.inf
            for _ in range(MAX_ITERATIONS):
                (product,) = torch.autograd.grad(value, leaf, u, retain_graph=True, materialize_grads=True)
                self.counted.add_vjps(1)
                new = torch.add(g, product, alpha=h / 2)
                change, size = (float(torch.linalg.vector_norm(x)) for x in (new - u, new))
                u = new
                if _rounded(change, before, size, g.dtype):
                    return u
                before = change
            raise SolverError(
                f"{stats.solver}: the transposed equation did not converge in {MAX_ITERATIONS} iterations",
                "take smaller steps",
            )

        if attached.requires_grad:
            attached.register_hook(transposed)  # type: ignore[no-untyped-call]  # torch
        return attached


def _rounded(change: float, before: float, size: float, dtype: torch.dtype) -> bool:
    """Whether an iteration has come down to rounding: as small as it gets, or small and shrinking no more."""
    eps = torch.finfo(dtype).eps
    return change <= eps * size or (change <= 100 * eps * size and change >= before)
