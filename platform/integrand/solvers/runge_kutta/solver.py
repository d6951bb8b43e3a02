"""The explicit Runge–Kutta engine behind the solver contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from integrand.solvers.accounts import CountedField, refuse_dropout
from integrand.solvers.base import ODESolver
from integrand.solvers.checkpoint import solve_by_checkpoint
from integrand.solvers.dense import DenseOutput, Piece
from integrand.solvers.errors import SolverOptionError
from integrand.solvers.hidden_inputs import differentiable_inputs
from integrand.solvers.options import (
    MAX_NFE,
    chooses_steps,
    require_choice,
    require_positive,
    spell,
    spell_steps,
)
from integrand.solvers.own_times import OwnTimes, Rescaled, own_times, own_times_asked_for
from integrand.solvers.problem import Problem, prepare, require_finite
from integrand.solvers.randomness import Generators
from integrand.solvers.solution import Resume, Solution, SolveStats, Status
from integrand.solvers.step_size import INTEGRAL, SAFETY, Gains
from integrand.solvers.time_gradients import TimeGradient
from integrand.solvers.watching import watch_nodes

from .adaptive import AdaptiveSteps
from .combinations import refuse_combinations
from .control import StepControl, told, tolerance
from .fixed import FixedSteps
from .outputs import CommonTimes, EveryStep, Outputs, SampleTimes, Steps
from .per_sample import PerSampleSteps
from .tableau import Tableau

RTOL = ATOL = 1e-5


class RungeKutta(ODESolver):
    """Base of the explicit Runge–Kutta methods; subclasses are nothing but their tableau.

    Without step_size and num_steps a method with an embedded pair chooses its steps by rtol and atol; with
    one of them any method takes equal steps. The field is never evaluated outside the times asked for.

    Args:
        rtol: Relative tolerance of adaptive steps, 1e-5 where not given; one, or one for each component of
            the state along its last dimension.
        atol: Absolute tolerance of adaptive steps, likewise.
        step_size: Longest step of a fixed-step solve, in units of t.
        num_steps: Number of steps of a fixed-step solve over the whole time span, instead of step_size.
        gradient: `backprop` keeps the graph of every step; `checkpoint` keeps one state per step, recomputes
            the rest and gives the same gradient to rounding.
        per_sample: Give every sample its own steps, so that its result does not depend on its batch
            mates; the field then gets t of shape (batch, 1, ...).
        on_failure: With per_sample, whether one failing sample ends the solve (`raise`) or is frozen where it
            failed while the others go on (`continue`), reported in status and failed.
        first_step: First step of an adaptive solve, chosen from the field where not given.
        max_step: Longest step of an adaptive solve.
        min_step: Shortest step that the error control may ask for; a solve that needs a shorter one fails.
        force_min_step: Take steps of min_step whatever their error, instead of failing.
        pid: Proportional, integral and derivative gain of the step control (Söderlind 2003), each divided by
            the order of the local error, such as (0.2, 0.7, 0.0); (0, 1, 0) where not given.
        safety: Share of the step that the error estimate would just allow, 0.8 where not given.
        jump_t: Times where the field jumps: steps end there and begin anew on the other side.
        save: `outputs` returns the times asked for, `steps` the end of every step.
        dense: Keep the polynomials of all steps, for `solution.at(t)` at any t; gradients need backprop.
        max_nfe: Evaluations after which the solve is given up; a million for adaptive steps where not given.
        compile: Compile the step with torch.compile; the first solve then takes long.
        autocast: Evaluate the field under the caller's autocast instead of full precision.

    Raises:
        SolverOptionError: An option that the method does not take in this mode.
    """

    tableau: ClassVar[Tableau]
    gradients: ClassVar[tuple[str, ...]] = ("backprop", "checkpoint")
    own_times: ClassVar[bool] = True

    def __init__(
        self,
        rtol: float | list[float] | None = None,
        atol: float | list[float] | None = None,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "checkpoint"] = "backprop",
        per_sample: bool = False,
        on_failure: Literal["raise", "continue"] = "raise",
        first_step: float | None = None,
        max_step: float | None = None,
        min_step: float | None = None,
        force_min_step: bool = False,
        pid: Gains | None = None,
        safety: float | None = None,
        jump_t: list[float] | None = None,
        save: Literal["outputs", "steps"] = "outputs",
        dense: bool = False,
        max_nfe: int | None = None,
        compile: bool = False,
        autocast: bool = False,
    ) -> None:
        name = type(self).__name__
        if not hasattr(self, "tableau"):
            raise SolverOptionError(f"{name} is the base of the methods", "choose one, such as Dopri5")
        require_choice("gradient", gradient, self.gradients)
        self.rtol, self.atol = tolerance("rtol", rtol, RTOL), tolerance("atol", atol, ATOL)
        lengths = {"first_step": first_step, "max_step": max_step, "min_step": min_step}
        require_positive(**lengths, step_size=step_size, num_steps=num_steps, max_nfe=max_nfe, safety=safety)
        by_error = {"rtol": rtol, "atol": atol, "pid": pid, "safety": safety, "per_sample": per_sample}
        self.is_adaptive = chooses_steps(name, step_size, num_steps, **lengths, **by_error)
        if self.is_adaptive and self.tableau.b_low is None:
            raise SolverOptionError(
                f"{name} has no error estimate", "set step_size or num_steps, or use Dopri5"
            )
        self.step_size, self.num_steps = step_size, num_steps
        self.gradient, self.per_sample, self.on_failure = gradient, per_sample, on_failure
        self.first_step, self.max_step, self.min_step = first_step, max_step, min_step
        self.force_min_step = force_min_step
        self.safety = SAFETY if safety is None else safety
        self.pid: Gains = INTEGRAL if pid is None else pid
        self.jump_t, self.save, self.dense = tuple(jump_t or ()), save, dense
        # fixed steps end by themselves
        self.max_nfe = MAX_NFE if max_nfe is None and self.is_adaptive else max_nfe
        self.compile, self.autocast = compile, autocast
        refuse_combinations(name, self)

    def describe(self) -> str:
        """Method and accuracy, such as `dopri5 rtol=1e-3 atol=1e-3`."""
        words = [type(self).__name__.lower()]
        if self.is_adaptive:
            words += [f"rtol={told(self.rtol)}", f"atol={told(self.atol)}"]
        else:
            words.append(spell_steps(self.step_size, self.num_steps))
        if self.max_step is not None:
            words.append(f"max_step={spell(self.max_step)}")
        return " ".join(words + ["per_sample"] * self.per_sample)

    def solve(
        self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float], mask: Tensor | None = None
    ) -> Solution:
        """Integrate; see `ODESolver.solve`.

        Args:
            field: Module called as `field(t, y)`; with times of each sample's own, and with per_sample, t has
                shape (batch, 1, ...).
            y0: State at the first time, shape (batch, ...).
            t: Output times, shape (n_t,); or times of each sample's own, shape (batch, n_t), each row
                monotone with repetitions where it likes and starting where that sample starts. May require
                a gradient.
            mask: With times of each sample's own, which of them count, shape (batch, n_t), bool; outputs at
                the others are zero.
        """
        if own_times_asked_for(t, mask):
            return self.solve_own(field, y0, own_times(t, y0, mask))
        return self._solve_common(field, prepare(field, y0, t, self.autocast, times_gradient=True))

    def proceed(self, field: nn.Module, solution: Solution, t: Tensor | Sequence[float]) -> Solution:
        """Go on from the end of a solve, with the step it would have taken next.

        Args:
            field: The field.
            solution: A solve of this solver.
            t: Further output times, beyond the last one in the same direction; the first output is the last
                state of `solution`.

        Raises:
            SolverOptionError: The solve was not one of adaptive steps at common times.
        """
        if solution.resume is None or solution.ts.ndim != 1:
            raise SolverOptionError(
                "only solves by adaptive steps at common times can be continued",
                "solve from the last state instead",
            )
        times = [solution.ts[-1].item(), *(t if isinstance(t, Sequence) else t.tolist())]
        problem = prepare(field, solution.ys[-1], times, self.autocast)
        return self._solve_common(field, problem, solution.resume)

    def _solve_common(self, field: nn.Module, problem: Problem, resume: Resume | None = None) -> Solution:
        stats = self._account_for()
        counted = self.counted(field, problem, stats)
        y0 = problem.departing(counted, self.per_sample)
        if problem.trivial:
            counted.start_backward()
            return problem.still(stats, y0)
        if self.save == "steps" and len(problem.times) > 2:
            raise SolverOptionError(
                "save=steps gives the steps, not the times asked for", "pass the first and the last time"
            )
        integrator = self.integrator(counted, problem, None, resume)
        ys, failed = self._outcome(integrator, counted, problem, y0)
        if self.save == "steps" and isinstance(integrator, AdaptiveSteps | FixedSteps):
            assert isinstance(integrator.outputs, EveryStep)
            problem = replace(problem, times=tuple(integrator.outputs.times), index=None)
        solution = problem.finish(ys, stats, Status.SUCCESS if failed is None else Status.PARTIAL, failed)
        if self.dense:
            solution.dense = DenseOutput(integrator.kept, problem.times[0], problem.times[-1])
        if not isinstance(integrator, FixedSteps):
            past = integrator.controller.past if isinstance(integrator, AdaptiveSteps) else None
            solution.resume = Resume(integrator.next_step, past)
        return solution

    def solve_own(
        self,
        field: nn.Module,
        y0: Tensor,
        own: OwnTimes,
        stats: SolveStats | None = None,
        first_step: float | None = None,
    ) -> Solution:
        """Integrate at checked times of each sample's own.

        Every span is taken to [0, 1], where all samples share their steps, and outputs are read off them.

        Args:
            field: Module called as `field(t, y)` with t of shape (batch, 1, ...).
            y0: State at each sample's first time, shape (batch, ...).
            own: The times.
            stats: An account to go on with, a new one where None.
            first_step: First step as a share of each sample's span.
        """
        if self.jump_t or self.dense or self.save == "steps":
            raise SolverOptionError(
                "jump_t, dense and save=steps know common times only", "remove them, or solve at common times"
            )
        stats = stats or self._account_for()
        problem = prepare(field, y0, [0.0, 1.0], self.autocast)
        clocked = TimeGradient(own.times) if own.times.requires_grad and torch.is_grad_enabled() else None
        problem = replace(problem, exact_clock=True, clocked=clocked, own=own)
        clock = own.clock(problem.y0)
        start = problem.y0
        if clocked is not None:
            told = self.counted(field, problem, stats)
            told.start_backward()
            clocked.start(told, clock, columns=True)
            start = clocked.depart(start)
        if not own.longest or not y0.numel():
            return problem.still(stats, start)
        counted = self.counted(Rescaled(field, own.start, own.end, clock), problem, stats)
        control = self.step_control(problem, None, own.longest)
        if first_step is not None and control.first_step is None:
            control = replace(control, first_step=first_step)
        integrator = self.integrator(counted, problem, control)
        ys, failed = self._outcome(integrator, counted, problem, start)
        return problem.finish(ys, stats, Status.SUCCESS if failed is None else Status.PARTIAL, failed)

    def watch(
        self, field: nn.Module, y0: Tensor, t: tuple[float, float], look: Callable[[Piece], bool]
    ) -> SolveStats:
        """See `ODESolver.watch`; for fixed steps."""
        return watch_nodes(self, field, y0, t, self.step_size, self.num_steps, look)

    def _account_for(self) -> SolveStats:
        return SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)

    def counted(self, field: nn.Module, problem: Problem, stats: SolveStats) -> CountedField:
        """The field as the solver calls it."""
        return CountedField(
            field,
            stats,
            max_nfe=self.max_nfe,
            autocast=self.autocast,
            device_type=problem.y0.device.type,
            uneven=self.is_adaptive,
        )

    def step_control(self, problem: Problem, resume: Resume | None = None, unit: float = 1.0) -> StepControl:
        """What steps are chosen by, in units of t divided by `unit`."""
        first = self.first_step
        if resume is not None and isinstance(resume.step, float):
            first = resume.step
        control = StepControl(
            self.rtol,
            self.atol,
            None if first is None else first / unit,
            math.inf if self.max_step is None else self.max_step / unit,
            (self.min_step or 0.0) / unit,
            self.force_min_step,
            self.pid,
            self.jump_t,
            self.safety,
        )
        return control.like(problem.y0)

    def integrator(
        self,
        counted: CountedField,
        problem: Problem,
        control: StepControl | None = None,
        resume: Resume | None = None,
    ) -> FixedSteps | AdaptiveSteps | PerSampleSteps:
        """The steps of this method on one problem."""
        own = problem.own
        if self.per_sample:
            control = control or self.step_control(problem, resume)
            times = None if own is None else own.shares
            return PerSampleSteps(
                self.tableau, counted, problem, control, times, self.on_failure == "continue", self.dense
            )
        outputs: Outputs
        if self.save == "steps":
            outputs = EveryStep(problem.times[0], problem.times[-1])
        elif own is not None and own.times.shape[1] != 2:
            outputs = SampleTimes(own.shares.cpu(), problem.y0.device)
        else:
            outputs = CommonTimes(problem.times)
        if self.is_adaptive:
            control = control or self.step_control(problem, resume)
            past = None if resume is None else resume.past
            return AdaptiveSteps(
                self.tableau, counted, problem, control, outputs, self.compile, self.dense, past
            )
        step = self.step_size
        if own is not None and step is not None:
            step /= own.longest
        return FixedSteps(
            self.tableau,
            counted,
            problem,
            outputs,
            step,
            self.num_steps,
            self.jump_t,
            self.compile,
            self.dense,
        )

    def _outcome(
        self,
        integrator: FixedSteps | AdaptiveSteps | PerSampleSteps,
        counted: CountedField,
        problem: Problem,
        y0: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """All outputs and which samples failed."""
        stats = counted.stats
        with problem.context():
            ys = self.integrate(integrator, counted, problem, y0)
            if isinstance(integrator, FixedSteps):
                require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.start_backward()
        return ys, self._account(integrator, stats)

    def integrate(
        self, integrator: Steps, counted: CountedField, problem: Problem, y0: Tensor | None = None
    ) -> Tensor:
        """The outputs of `integrator` with the gradient mode chosen, shape (n_t, *y0.shape)."""
        y0 = problem.y0 if y0 is None else y0
        if self.gradient == "backprop" or not torch.is_grad_enabled():
            ys = integrator.join(integrator.run(y0, None))
            if ys.requires_grad:
                # one hook for the whole solve: one on every evaluation would cost a tenth of a small field
                vjps = integrator.differentiated
                ys.register_hook(lambda _: counted.add_vjps(vjps))  # type: ignore[no-untyped-call]  # torch
            return ys
        t0 = torch.tensor(problem.times[0], dtype=problem.clock).to(y0.device, non_blocking=True)
        if self.per_sample:
            t0 = t0.expand(len(y0), *[1] * (y0.ndim - 1))
        generators = Generators(y0.device)
        f0 = counted(t0, y0.detach())
        inputs = differentiable_inputs(counted.field, f0)
        counted.remember(f0.detach())
        if not inputs and not y0.requires_grad:
            return integrator.join(integrator.run(y0, None))
        if not integrator.notes_first:
            refuse_dropout(counted.field, "checkpoint")
        return integrator.join(solve_by_checkpoint(integrator, y0, inputs, generators))

    def _account(
        self, integrator: FixedSteps | AdaptiveSteps | PerSampleSteps, stats: SolveStats
    ) -> Tensor | None:
        if isinstance(integrator, PerSampleSteps):
            return integrator.account(stats)
        stats.add_steps([abs(h) for h in integrator.sizes])
        if isinstance(integrator, AdaptiveSteps):
            stats.rejected = (stats.rejected or 0) + integrator.rejected
            stats.stiffness = integrator.stiffness
        return None
