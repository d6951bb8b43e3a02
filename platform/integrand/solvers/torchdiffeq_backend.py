"""torchdiffeq behind the solver contract: every method, validated options, exact accounts, typed failures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from .accounts import CountedField, refuse_dropout
from .base import ODESolver
from .errors import SolverOptionError
from .hidden_inputs import differentiable_inputs
from .initial_step import initial_step
from .options import (
    MAX_NFE,
    require_choice,
    require_not_set,
    require_positive,
    require_steps,
    spell,
    spell_steps,
)
from .problem import Problem, prepare, require_finite
from .randomness import Generators
from .solution import Solution, SolveStats
from .torchdiffeq_adjoint import AdjointSolve, allow_retained_graphs
from .torchdiffeq_calls import Func, StepRecord, call, grid_constructor, typed_failures
from .torchdiffeq_methods import METHODS, MethodName, check_options
from .transforms import refuse_transforms_of

RTOL = ATOL = 1e-5


def _check_steps(method: MethodName, step_size: float | None, num_steps: int | None) -> None:
    """Refuse steps for a method that chooses its own; ask for one of the two where they are fixed."""
    if METHODS[method].adaptive:
        remedy = "remove it, or use rk4; options: {max_step: …} bounds the steps"
        require_not_set(method, "it chooses its steps", remedy, step_size=step_size, num_steps=num_steps)
    else:
        require_steps(method, step_size, num_steps)


def _check_gradient(method: MethodName, gradient: str, seminorm: bool) -> None:
    """Refuse a gradient that the method does not have, and a seminorm that would do nothing."""
    info = METHODS[method]
    if seminorm and (gradient != "adjoint" or not info.adaptive or method == "scipy_solver"):
        raise SolverOptionError(
            f"seminorm does nothing for {method} with gradient={gradient}",
            "remove it, or use an adaptive method with gradient: adjoint",
        )
    if not info.differentiable and gradient == "backprop":
        raise SolverOptionError(f"no gradient goes through {method}", "set gradient: adjoint")


class TorchDiffEq(ODESolver):
    """Any method of torchdiffeq 0.2.5 (Chen 2018).

    The field is never evaluated outside the times asked for, output times of fixed-step methods are grid
    nodes, and the adjoint keeps every option in its backward solve. Tolerances bound the error of the batch
    as a whole, so a sample's result depends a little on its batch mates; `Dopri5(per_sample=True)` does not.

    Args:
        method: Name of the method.
        rtol: Relative tolerance of adaptive methods, 1e-5 where not given.
        atol: Absolute tolerance of adaptive methods, 1e-5 where not given.
        step_size: Longest step of fixed-step methods, in units of t.
        num_steps: Number of steps of fixed-step methods over the whole time span, instead of step_size.
        gradient: `backprop` differentiates the steps; `adjoint` solves the adjoint equation backwards with
            little memory, and is inaccurate on contracting fields.
        seminorm: Leave the parameter gradients out of the adjoint's step control (Kidger 2021); adaptive
            methods with gradient=adjoint only.
        max_nfe: Evaluations after which the forward or the backward solve is given up; a million for
            adaptive methods where not given.
        autocast: Evaluate the field under the caller's autocast instead of full precision.
        options: Further options of the method, such as `max_step`, `first_step`, `jump_t` (adaptive),
            `perturb` (fixed), `max_order` (Adams), `solver` (SciPy).

    Raises:
        SolverOptionError: Unknown method or option, or one that the method does not take.
    """

    gradients: ClassVar[tuple[str, ...]] = ("backprop", "adjoint")

    def __init__(
        self,
        method: MethodName = "dopri5",
        rtol: float | None = None,
        atol: float | None = None,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "adjoint"] = "backprop",
        seminorm: bool = False,
        max_nfe: int | None = None,
        autocast: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        require_choice("method", method, METHODS)
        require_choice("gradient", gradient, self.gradients)
        require_positive(rtol=rtol, atol=atol, step_size=step_size, num_steps=num_steps, max_nfe=max_nfe)
        info = METHODS[method]
        if not info.tolerances:
            require_not_set(method, "its steps are fixed", "remove it, or use dopri5", rtol=rtol, atol=atol)
        _check_steps(method, step_size, num_steps)
        _check_gradient(method, gradient, seminorm)
        check_options(method, options or {})
        self.method = method
        self.rtol = RTOL if rtol is None else rtol
        self.atol = ATOL if atol is None else atol
        self.step_size = step_size
        self.num_steps = num_steps
        self.gradient = gradient
        self.seminorm = seminorm
        self.max_nfe = MAX_NFE if max_nfe is None and info.adaptive else max_nfe
        self.autocast = autocast
        self.options = dict(options or {})
        self._info = info

    def describe(self) -> str:
        """Method and accuracy, such as `torchdiffeq dopri5 rtol=1e-3 atol=1e-3`."""
        words = ["torchdiffeq", self.method]
        if self._info.tolerances:
            words += [f"rtol={spell(self.rtol)}", f"atol={spell(self.atol)}"]
        if not self._info.adaptive:
            words.append(spell_steps(self.step_size, self.num_steps))
        words += [f"{k}={v}" for k, v in self.options.items()]
        return " ".join(words + ["seminorm"] * self.seminorm)

    def solve(self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float]) -> Solution:
        """Integrate; see `ODESolver.solve`."""
        if self._info.adaptive:
            refuse_transforms_of(f"{type(self).__name__} {self.method}")
        problem = prepare(field, y0, t, self.autocast, times_gradient=True)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)
        problem.require_state_clock("torchdiffeq", "use Dopri5 or RK4")
        counted = CountedField(
            field,
            stats,
            max_nfe=self.max_nfe,
            autocast=self.autocast,
            device_type=problem.y0.device.type,
            watch=True,
            uneven=self._info.adaptive,
        )
        problem = problem.departed(counted)
        if problem.trivial:
            counted.start_backward()
            return problem.still(stats)
        steps = StepRecord(adaptive=self._info.adaptive)
        with problem.context(), typed_failures(self.describe(), counted):
            ys = self._integrate(counted, problem, steps)
        require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.start_backward()
        steps.report(stats, known=self.method != "scipy_solver")
        return problem.finish(ys, stats)

    def _integrate(self, counted: CountedField, problem: Problem, steps: StepRecord) -> Tensor:
        y0, times = problem.y0, problem.times
        t = torch.tensor(times, dtype=problem.time_dtype, device=y0.device)
        adjoint = self.gradient == "adjoint" and torch.is_grad_enabled()
        func = Func(counted, steps, self.method)
        options = dict(self.options)
        kwargs: dict[str, Any] = {"method": self.method, "rtol": self.rtol, "atol": self.atol}
        inputs: tuple[Tensor, ...] = ()
        generators = Generators(y0.device)
        if adjoint:
            f0 = counted.evaluate_first(t[0].to(y0.dtype), y0.detach())
            inputs = differentiable_inputs(counted.field, f0)
            f0 = f0.detach()
            counted.remember(f0)
            adjoint = bool(inputs) or y0.requires_grad
        # here, because it brings scipy.integrate, which most solves do without
        from torchdiffeq import odeint, odeint_adjoint

        if adjoint:
            refuse_dropout(counted.field, "adjoint")
            allow_retained_graphs(counted.field)
        elif self._info.adaptive and self.method != "scipy_solver":
            f0 = counted.evaluate_first(t[0].to(y0.dtype), y0)
        if options.get("perturb"):
            # the method's own first evaluation is made just beside t0
            counted.forget()
        if not self._info.adaptive:
            kept = self.step_size or abs(times[-1] - times[0]) / (self.num_steps or 1)
            options["grid_constructor"] = grid_constructor(kept)
        elif self.method != "scipy_solver":
            self._prepare_adaptive(options, counted, problem, f0)
        if not adjoint:
            return call(odeint, func, y0, t, options=options, **kwargs)
        adjoint_options = dict(options)
        if self._info.adaptive and self.method != "scipy_solver":
            # each interval is solved on its own and must end on its end; its first step is its own too
            func.span = (min(times), max(times))
            stops = {*options["step_t"].tolist(), *times[:-1]} - set(options.get("jump_t", t[:0]).tolist())
            adjoint_options["step_t"] = torch.tensor(sorted(stops), dtype=t.dtype, device=t.device)
            if "first_step" not in self.options:
                del adjoint_options["first_step"]
            # torchdiffeq replaces all options when the norm is given: they must be repeated
            adjoint_options |= {"norm": "seminorm"} if self.seminorm else {}

        def solve(start: Tensor) -> Tensor:
            more = {"adjoint_params": inputs, "adjoint_options": adjoint_options}
            return call(odeint_adjoint, func, start, t, options=options, **more, **kwargs)

        failures = partial(typed_failures, self.describe(), counted)
        ys = AdjointSolve(solve, inputs, counted, times, failures).run(y0)
        generators.refuse_draws(counted.stats.solver, "adjoint")
        return ys

    def _prepare_adaptive(
        self, options: dict[str, Any], counted: CountedField, problem: Problem, f0: Tensor
    ) -> None:
        y0, times = problem.y0, problem.times
        if "first_step" not in options:
            # computed here, torchdiffeq's own would carry a graph and look beyond the interval
            order = METHODS[self.method].order or 1
            counted.forget()
            step = initial_step(counted, times[0], times[-1], y0, f0, order, self.rtol, self.atol)
            counted.remember(f0)
            options["first_step"] = step
        device = y0.device
        low, high = min(times), max(times)
        jumps = sorted(j for j in map(float, options.pop("jump_t", ())) if low < j < high)
        # without a stop at the end dopri5 steps over it and evaluates the field outside [t0, t1]; the dense
        # output of dopri8 and bosh3 loses three digits at tol 1e-9, so these two stop at every output
        outputs = times[1:] if self.method in {"dopri8", "bosh3"} else times[-1:]
        stops = {float(v) for v in options.get("step_t", ())} | {*outputs}
        stops_at = sorted(stops - set(jumps))
        options["step_t"] = torch.tensor(stops_at, dtype=problem.time_dtype, device=device)
        if jumps:
            options["jump_t"] = torch.tensor(jumps, dtype=problem.time_dtype, device=device)
        options["dtype"] = problem.time_dtype
