"""The explicit Runge–Kutta engine behind the solver contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from integrand.solvers.accounts import CountedField, refuse_dropout
from integrand.solvers.base import ODESolver
from integrand.solvers.errors import SolverOptionError
from integrand.solvers.hidden_inputs import differentiable_inputs
from integrand.solvers.options import MAX_NFE, require_choice, require_not_set, require_positive, spell
from integrand.solvers.problem import Problem, prepare, require_finite
from integrand.solvers.solution import Solution, SolveStats, Status
from integrand.solvers.tape import Integrator, solve_by_checkpoint

from .adaptive import AdaptiveSteps
from .fixed import FixedSteps
from .per_sample import PerSampleSteps
from .tableau import Tableau

RTOL = ATOL = 1e-5


class Steps(Integrator, Protocol):
    """The steps of one solve."""

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""


class RungeKutta(ODESolver):
    """Base of the explicit Runge–Kutta methods; subclasses are nothing but their tableau.

    Without step_size and num_steps a method with an embedded pair chooses its steps by rtol and atol; with
    one of them any method takes equal steps. The field is never evaluated outside the times asked for.

    Args:
        rtol: Relative tolerance of adaptive steps, 1e-5 where not given.
        atol: Absolute tolerance of adaptive steps, 1e-5 where not given.
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
        max_nfe: Evaluations after which the solve is given up; a million for adaptive steps where not given.
        compile: Compile the step with torch.compile; the first solve then takes long.
        autocast: Evaluate the field under the caller's autocast instead of full precision.

    Raises:
        SolverOptionError: An option that the method does not take in this mode.
    """

    tableau: ClassVar[Tableau]
    gradients: ClassVar[tuple[str, ...]] = ("backprop", "checkpoint")

    def __init__(
        self,
        rtol: float | None = None,
        atol: float | None = None,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "checkpoint"] = "backprop",
        per_sample: bool = False,
        on_failure: Literal["raise", "continue"] = "raise",
        first_step: float | None = None,
        max_step: float | None = None,
        max_nfe: int | None = None,
        compile: bool = False,
        autocast: bool = False,
    ) -> None:
        name = type(self).__name__
        if not hasattr(self, "tableau"):
            raise SolverOptionError(f"{name} is the base of the methods", "choose one, such as Dopri5")
        require_choice("gradient", gradient, self.gradients)
        require_choice("on_failure", on_failure, ("raise", "continue"))
        require_positive(
            rtol=rtol,
            atol=atol,
            step_size=step_size,
            num_steps=num_steps,
            first_step=first_step,
            max_step=max_step,
            max_nfe=max_nfe,
        )
        self.is_adaptive = step_size is None and num_steps is None
        if self.is_adaptive and self.tableau.b_low is None:
            raise SolverOptionError(
                f"{name} has no error estimate", "set step_size or num_steps, or use Dopri5"
            )
        if step_size is not None and num_steps is not None:
            raise SolverOptionError(f"{name} got both step_size and num_steps", "set one of the two")
        if not self.is_adaptive:
            require_not_set(
                f"{name} with fixed steps",
                "nothing controls the error",
                "remove it, or remove step_size and num_steps",
                rtol=rtol,
                atol=atol,
                first_step=first_step,
                max_step=max_step,
                per_sample=per_sample,
            )
        if on_failure == "continue" and not per_sample:
            raise SolverOptionError(
                "on_failure=continue needs steps of its own for every sample", "set per_sample: true"
            )
        if on_failure == "continue" and gradient == "backprop":
            raise SolverOptionError(
                "backprop carries the NaN of a failed sample into the gradients of all",
                "set gradient: checkpoint",
            )
        if compile and (per_sample or autocast):
            other = "per_sample" if per_sample else "autocast"
            raise SolverOptionError(f"{name} does not compile steps with {other}", "remove one of the two")
        self.rtol = RTOL if rtol is None else rtol
        self.atol = ATOL if atol is None else atol
        self.step_size, self.num_steps = step_size, num_steps
        self.gradient = gradient
        self.per_sample = per_sample
        self.on_failure = on_failure
        self.first_step, self.max_step = first_step, max_step
        # fixed steps end by themselves
        self.max_nfe = MAX_NFE if max_nfe is None and self.is_adaptive else max_nfe
        self.compile = compile
        self.autocast = autocast

    def describe(self) -> str:
        """Method and accuracy, such as `dopri5 rtol=1e-3 atol=1e-3`."""
        words = [type(self).__name__.lower()]
        if self.is_adaptive:
            words += [f"rtol={spell(self.rtol)}", f"atol={spell(self.atol)}"]
        if self.step_size is not None:
            words.append(f"step_size={spell(self.step_size)}")
        if self.num_steps is not None:
            words.append(f"num_steps={self.num_steps}")
        if self.max_step is not None:
            words.append(f"max_step={spell(self.max_step)}")
        return " ".join(words + ["per_sample"] * self.per_sample)

    def solve(self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float]) -> Solution:
        """Integrate; see `ODESolver.solve`."""
        problem = prepare(field, y0, t, self.autocast)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        counted = CountedField(
            field,
            stats,
            max_nfe=self.max_nfe,
            autocast=self.autocast,
            device_type=problem.y0.device.type,
            uneven=self.is_adaptive,
        )
        integrator = self.integrator(counted, problem)
        with problem.context():
            ys = self.integrate(integrator, counted, problem)
            if isinstance(integrator, FixedSteps):
                require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.start_backward()
        failed = self._account(integrator, stats)
        status = Status.SUCCESS if failed is None else Status.PARTIAL
        return problem.finish(ys, stats, status, failed)

    def integrator(
        self, counted: CountedField, problem: Problem
    ) -> FixedSteps | AdaptiveSteps | PerSampleSteps:
        """The steps of this method on one problem."""
        if not self.is_adaptive:
            return FixedSteps(self.tableau, counted, problem, self.step_size, self.num_steps, self.compile)
        tolerances = (self.rtol, self.atol, self.first_step, self.max_step)
        if self.per_sample:
            return PerSampleSteps(self.tableau, counted, problem, *tolerances, self.on_failure == "continue")
        return AdaptiveSteps(self.tableau, counted, problem, *tolerances, self.compile)

    def integrate(self, integrator: Steps, counted: CountedField, problem: Problem) -> Tensor:
        """The outputs of `integrator` with the gradient mode chosen, shape (n_t, *y0.shape)."""
        y0 = problem.y0
        if self.gradient == "backprop" or not torch.is_grad_enabled():
            ys = torch.stack(integrator.run(y0, None))
            if ys.requires_grad:
                # one hook for the whole solve: one on every evaluation would cost a tenth of a small field
                vjps = integrator.differentiated
                ys.register_hook(lambda _: counted.add_vjps(vjps))  # type: ignore[no-untyped-call]  # torch
            return ys
        t0 = torch.tensor(problem.times[0], dtype=problem.clock).to(y0.device, non_blocking=True)
        if self.per_sample:
            t0 = t0.expand(len(y0), *[1] * (y0.ndim - 1))
        f0 = counted(t0, y0.detach())
        inputs = differentiable_inputs(counted.field, f0)
        counted.remember(f0.detach())
        if not inputs and not y0.requires_grad:
            return torch.stack(integrator.run(y0, None))
        refuse_dropout(counted.field, "checkpoint")
        return solve_by_checkpoint(integrator, y0, inputs)

    def _account(
        self, integrator: FixedSteps | AdaptiveSteps | PerSampleSteps, stats: SolveStats
    ) -> Tensor | None:
        if isinstance(integrator, PerSampleSteps):
            return integrator.account(stats)
        sizes = [abs(h) for h in integrator.sizes]
        stats.accepted, stats.step_sizes = len(sizes), sizes
        stats.min_step, stats.max_step = min(sizes), max(sizes)
        if isinstance(integrator, AdaptiveSteps):
            stats.rejected, stats.stiffness = integrator.rejected, integrator.stiffness
        return None
