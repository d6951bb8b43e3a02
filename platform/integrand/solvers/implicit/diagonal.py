"""Diagonally implicit methods as solvers."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from ..accounts import Counted
from ..errors import SolverOptionError
from ..options import require_choice
from ..problem import Problem
from ..solution import SolveStats
from .base import ImplicitSolver
from .dirk import DIRKStepper
from .linear import DenseJacobian, MatrixFreeJacobian
from .newton import Newton
from .step import Stepper
from .tableau import DIRKTableau

DENSE = 512
"""Components up to which a factored Jacobian, used for several steps, is cheaper than products with it."""


class DIRKSolver(ImplicitSolver):
    """Base of the diagonally implicit methods; subclasses are nothing but their tableau.

    Stages are solved by Newton with one Jacobian for many steps. The gradient is that of the implicit
    function, by transposed chord iterations with the factors of the step; it has no second derivative.

    Args:
        rtol: Relative tolerance of adaptive steps, 1e-5 where not given.
        atol: Absolute tolerance of adaptive steps, 1e-5 where not given.
        step_size: Longest step of a fixed-step solve, in units of t.
        num_steps: Number of steps of a fixed-step solve over the whole time span, instead of step_size.
        gradient: `backprop` keeps the graph of every step; `checkpoint` keeps one state per step and solves
            the stages again.
        first_step: First step of an adaptive solve, chosen from the field where not given.
        max_step: Longest step of an adaptive solve.
        max_nfe: Evaluations after which the solve is given up, a million where not given.
        linear: How linear systems are solved: `lu` factors the Jacobian of every sample, `gmres` takes
            products with it and stores none, for fields that autograd differentiates twice; `auto` factors
            up to 512 components.

    Raises:
        SolverOptionError: Tolerances together with fixed steps, or both kinds of fixed steps.
    """

    tableau: ClassVar[DIRKTableau]

    def __init__(
        self,
        rtol: float | None = None,
        atol: float | None = None,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "checkpoint"] = "backprop",
        first_step: float | None = None,
        max_step: float | None = None,
        max_nfe: int | None = None,
        linear: Literal["auto", "lu", "gmres"] = "auto",
    ) -> None:
        if not hasattr(self, "tableau"):
            name = type(self).__name__
            raise SolverOptionError(f"{name} is the base of the methods", "choose one, such as Kvaerno5")
        super().__init__(rtol, atol, step_size, num_steps, gradient, first_step, max_step, max_nfe)
        require_choice("linear", linear, ("auto", "lu", "gmres"))
        self.linear = linear

    def _prepared(self, field: nn.Module, stats: SolveStats, problem: Problem) -> tuple[Counted, Stepper]:
        counted = self._counted(field, stats, problem)
        newton = Newton(counted, self.rtol, self.atol)
        return counted, DIRKStepper(
            self.tableau, counted, None, newton, self._maker(problem), self._clock(problem)
        )

    def _maker(self, problem: Problem) -> type[DenseJacobian] | type[MatrixFreeJacobian]:
        linear = self.linear
        if linear == "auto":
            linear = "lu" if problem.y0[0].numel() <= DENSE else "gmres"
        return DenseJacobian if linear == "lu" else MatrixFreeJacobian
