"""What implicit methods share: options, the check of a state, and how a solve is run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..accounts import Counted, CountedField, refuse_dropout
from ..base import ODESolver
from ..checkpoint import solve_by_checkpoint
from ..dense import Piece
from ..hidden_inputs import differentiable_inputs
from ..options import MAX_NFE, chooses_steps, require_choice, require_positive, spell, spell_steps
from ..own_times import own_times_asked_for
from ..problem import Problem, grid, prepare, require_finite
from ..randomness import Generators
from ..solution import Solution, SolveStats
from ..transforms import refuse_transforms_of
from ..union_times import solve_through_union
from .step import Clock, Stepper
from .steps import ImplicitSteps

RTOL = ATOL = 1e-5
FIXED = 1e-10
"""Tolerance to which Newton's iterations are carried in fixed steps, where nothing else bounds them."""


class ImplicitSolver(ODESolver):
    """Base of the methods for stiff fields.

    Derivatives of the field are taken inside the solve, in every mode of autograd, and sample by sample:
    samples must not act on each other inside the field (no batch norm in training).

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

    Raises:
        SolverOptionError: Tolerances together with fixed steps, or both kinds of fixed steps.
    """

    gradients: ClassVar[tuple[str, ...]] = ("backprop", "checkpoint")
    own_times: ClassVar[bool] = True

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
    ) -> None:
        require_choice("gradient", gradient, self.gradients)
        by_error = {"rtol": rtol, "atol": atol, "first_step": first_step, "max_step": max_step}
        require_positive(step_size=step_size, num_steps=num_steps, max_nfe=max_nfe, **by_error)
        self.is_adaptive = chooses_steps(type(self).__name__, step_size, num_steps, **by_error)
        self.rtol = rtol or (RTOL if self.is_adaptive else FIXED)
        self.atol = atol or (ATOL if self.is_adaptive else FIXED)
        self.step_size, self.num_steps = step_size, num_steps
        self.gradient = gradient
        self.first_step, self.max_step = first_step, max_step
        self.max_nfe = MAX_NFE if max_nfe is None else max_nfe

    def describe(self) -> str:
        """Method and accuracy, such as `kvaerno5 rtol=1e-3 atol=1e-3`."""
        name = type(self).__name__.lower()
        if self.is_adaptive:
            return f"{name} rtol={spell(self.rtol)} atol={spell(self.atol)}"
        return f"{name} {spell_steps(self.step_size, self.num_steps)}"

    def solve(
        self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float], mask: Tensor | None = None
    ) -> Solution:
        """Integrate; see `ODESolver.solve`.

        Args:
            field: Module called as `field(t, y)`; with times of each sample's own, t is (batch, 1, ...).
            y0: State at the first time, shape (batch, ...).
            t: Output times, shape (n_t,), or times of each sample's own, shape (batch, n_t); see
                `solve_through_union`. May require a gradient.
            mask: With times of each sample's own, which of them count, shape (batch, n_t), bool.

        Raises:
            SolverOptionError: The state has more components than the method takes, or torch.func is at work.
        """
        refuse_transforms_of(type(self).__name__)
        if own_times_asked_for(t, mask):
            return solve_through_union(self, field, y0, t, mask)
        problem = prepare(field, y0, t, times_gradient=True)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)
        if problem.trivial:
            counted: Counted = self._counted(field, stats, problem)
            counted.start_backward()
            return problem.departed(counted).still(stats)
        counted, stepper = self._prepared(field, stats, problem)
        problem = problem.departed(counted)
        steps = self._steps(stepper, counted, problem)
        with problem.context():
            ys = self._run(steps, field, problem)
            require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.start_backward()
        sizes = [abs(h) for h in steps.sizes]
        stats.accepted, stats.rejected, stats.step_sizes = len(sizes), steps.rejected, sizes
        stats.min_step, stats.max_step = min(sizes), max(sizes)
        return problem.finish(ys, stats)

    def watch(
        self, field: nn.Module, y0: Tensor, t: tuple[float, float], look: Callable[[Piece], bool]
    ) -> SolveStats:
        """See `ODESolver.watch`."""
        problem = prepare(field, y0, t)
        stats = SolveStats(solver=self.describe(), accepted=0, rejected=0)
        counted, stepper = self._prepared(field, stats, problem)
        steps = self._steps(stepper, counted, problem, look)
        with torch.no_grad(), problem.context():
            steps.run(problem.y0, None)
        stats.rejected = steps.rejected
        stats.add_steps([abs(h) for h in steps.sizes])
        return stats

    def _steps(
        self,
        stepper: Stepper,
        counted: Counted,
        problem: Problem,
        look: Callable[[Piece], bool] | None = None,
    ) -> ImplicitSteps:
        return ImplicitSteps(
            stepper,
            counted,
            problem,
            (self.rtol, self.atol) if self.is_adaptive else None,
            (self.step_size, self.num_steps),
            self.first_step,
            self.max_step,
            look,
        )

    @abstractmethod
    def _prepared(self, field: nn.Module, stats: SolveStats, problem: Problem) -> tuple[Counted, Stepper]:
        """The field as it is called and counted, and the method, for one solve."""

    def _counted(self, field: nn.Module, stats: SolveStats, problem: Problem) -> CountedField:
        # iterations follow from the data even where steps do not
        device = problem.y0.device.type
        return CountedField(field, stats, max_nfe=self.max_nfe, device_type=device, uneven=True)

    def _run(self, steps: ImplicitSteps, field: nn.Module, problem: Problem) -> Tensor:
        y0, stepper, counted = problem.y0, steps.stepper, steps.counted
        if not torch.is_grad_enabled():
            return torch.stack(steps.run(y0, None))
        stepper.graph = True
        generators = Generators(y0.device)
        keeps = self.gradient == "backprop"
        # one evaluation serves the search for inputs, the first Jacobian and the first step
        point = y0 if keeps and y0.requires_grad else y0.detach().requires_grad_()
        f0 = stepper.start(problem.times[0], point)
        if point is not y0:
            inputs = [x for x in differentiable_inputs(field, f0) if x is not point]
            if not inputs and not y0.requires_grad:
                stepper.graph = False
                return torch.stack(steps.run(y0, None))
            if not keeps:
                refuse_dropout(field, "checkpoint")
                return torch.stack(solve_by_checkpoint(steps, y0, inputs, generators))
        ys = torch.stack(steps.run(y0, None))
        vjps = stepper.differentiated * len(steps.sizes)
        ys.register_hook(lambda _: counted.add_vjps(vjps))  # type: ignore[no-untyped-call]  # torch
        return ys

    def _clock(self, problem: Problem) -> Clock:
        """Times as tensors, of the dtype that the field is called with."""
        device, dtype = problem.y0.device, problem.clock
        if not self.is_adaptive:
            dtype = problem.clock_of(
                min(
                    abs(b - a)
                    for nodes in grid(problem.times, self.step_size, self.num_steps)
                    for a, b in pairwise(nodes)
                )
            )
        return lambda t: torch.tensor(t, dtype=dtype).to(device, non_blocking=True)
