"""Alexander's singly diagonally implicit method of order 3, for stiff fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..accounts import CountedField, refuse_dropout
from ..base import ODESolver
from ..checkpoint import solve_by_checkpoint
from ..errors import SolverError, SolverOptionError, StepUnderflowError
from ..hidden_inputs import differentiable_inputs
from ..initial_step import initial_step
from ..options import MAX_NFE, require_choice, require_not_set, require_positive, spell
from ..problem import Problem, grid, not_finite, prepare, require_finite
from ..runge_kutta.control import PIController
from ..solution import Solution, SolveStats
from ..tape import StepRecord, Tape
from .newton import Factored, check_size, jacobian, solve_stage, with_gradient

GAMMA = 0.43586652150845967
C = (GAMMA, (1 + GAMMA) / 2, 1.0)
A = (
    (),
    ((1 - GAMMA) / 2,),
    (-(6 * GAMMA**2 - 16 * GAMMA + 1) / 4, (6 * GAMMA**2 - 20 * GAMMA + 5) / 4),
)
B = (*A[2], GAMMA)
# the second-order weights on the first two stages: Σb = 1, Σbc = 1/2
_LOW = (1 / 2 - C[0]) / (C[1] - C[0])
B_LOW = (1 - _LOW, _LOW, 0.0)


class SDIRK3(ODESolver):
    """Alexander (1977): order 3, three implicit stages, L-stable; for stiff fields of up to 1,024 components.

    Every stage is solved by Newton with the Jacobian of each sample, so samples must not act on each other
    inside the field (no batch norm). The gradient is that of the implicit function, exact for the discrete
    solve up to the Newton tolerance.

    Args:
        rtol: Relative tolerance of adaptive steps, 1e-5 where not given.
        atol: Absolute tolerance of adaptive steps, 1e-5 where not given.
        step_size: Longest step of a fixed-step solve, in units of t.
        num_steps: Number of steps of a fixed-step solve over the whole time span, instead of step_size.
        gradient: `backprop` keeps the graph of every step; `checkpoint` keeps one state per step and solves
            the stages again.
        max_nfe: Evaluations after which the solve is given up, a million where not given.

    Raises:
        SolverOptionError: Tolerances together with fixed steps.
    """

    order: ClassVar[int | None] = 3
    gradients: ClassVar[tuple[str, ...]] = ("backprop", "checkpoint")

    def __init__(
        self,
        rtol: float | None = None,
        atol: float | None = None,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "checkpoint"] = "backprop",
        max_nfe: int | None = None,
    ) -> None:
        require_choice("gradient", gradient, self.gradients)
        require_positive(rtol=rtol, atol=atol, step_size=step_size, num_steps=num_steps, max_nfe=max_nfe)
        self.is_adaptive = step_size is None and num_steps is None
        if step_size is not None and num_steps is not None:
            raise SolverOptionError("SDIRK3 got both step_size and num_steps", "set one of the two")
        if not self.is_adaptive:
            remedy = "remove it, or remove step_size and num_steps"
            require_not_set(
                "SDIRK3 with fixed steps", "nothing controls the error", remedy, rtol=rtol, atol=atol
            )
        self.rtol = rtol or (1e-5 if self.is_adaptive else 1e-8)
        self.atol = atol or (1e-5 if self.is_adaptive else 1e-8)
        self.step_size, self.num_steps = step_size, num_steps
        self.gradient = gradient
        self.max_nfe = MAX_NFE if max_nfe is None else max_nfe

    def describe(self) -> str:
        """Method and accuracy, such as `sdirk3 rtol=1e-3 atol=1e-3`."""
        if self.is_adaptive:
            return f"sdirk3 rtol={spell(self.rtol)} atol={spell(self.atol)}"
        steps = f"num_steps={self.num_steps}" if self.num_steps else f"step_size={spell(self.step_size or 0)}"
        return f"sdirk3 {steps}"

    def solve(self, field: nn.Module, y0: Tensor, t: Tensor | Sequence[float]) -> Solution:
        """Integrate; see `ODESolver.solve`."""
        problem = prepare(field, y0, t)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        check_size(problem.y0)
        # iterations follow from the data even where steps do not
        device = problem.y0.device.type
        counted = CountedField(field, stats, max_nfe=self.max_nfe, device_type=device, uneven=True)
        steps = _Steps(self, counted, problem)
        with problem.context():
            ys = self._run(steps, counted, problem)
            require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.start_backward()
        sizes = [abs(h) for h in steps.sizes]
        stats.accepted, stats.rejected, stats.step_sizes = len(sizes), steps.rejected, sizes
        stats.min_step, stats.max_step = min(sizes), max(sizes)
        return problem.finish(ys, stats)

    def _run(self, steps: _Steps, counted: CountedField, problem: Problem) -> Tensor:
        y0 = problem.y0
        if not torch.is_grad_enabled():
            return torch.stack(steps.run(y0, None))
        inputs = differentiable_inputs(counted.field, counted(steps.time(problem.times[0]), y0.detach()))
        if not inputs and not y0.requires_grad:
            return torch.stack(steps.run(y0, None))
        if self.gradient == "checkpoint":
            refuse_dropout(counted.field, "checkpoint")
            return torch.stack(solve_by_checkpoint(steps, y0, inputs))
        ys = torch.stack(steps.run(y0, None))
        vjps = 3 * len(steps.sizes)
        ys.register_hook(lambda _: counted.add_vjps(vjps))  # type: ignore[no-untyped-call]  # torch
        return ys


class _Steps:
    """One solve; an `Integrator`."""

    notes_first = False

    def __init__(self, solver: SDIRK3, counted: CountedField, problem: Problem) -> None:
        self.solver, self.counted = solver, counted
        self.output_times = problem.times
        self.sizes: list[float] = []
        self.rejected = 0
        self._clock, self._device = problem.clock, problem.y0.device
        # the exact Newton step of a repetition moves the end by what Newton's iteration had left
        self.slack = solver.rtol

    def time(self, t: float) -> Tensor:
        """A time as a tensor."""
        return torch.tensor(t, dtype=self._clock).to(self._device, non_blocking=True)

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        if not self.solver.is_adaptive:
            return self._fixed(y0, tape)
        times, solver = self.output_times, self.solver
        sign = 1.0 if times[-1] > times[0] else -1.0
        t, y, outputs = times[0], y0, [y0]
        f0 = self.counted(self.time(t), y.detach())
        h = initial_step(
            self.counted, t, times[-1], y.detach(), f0.detach(), 3, solver.rtol, solver.atol, self._clock
        )
        if not math.isfinite(h):
            raise not_finite(self.counted.stats.solver, f"at t={t:.6g}")
        controller = PIController(2)
        while len(outputs) < len(times):
            stop = times[len(outputs)]
            lands = abs(stop - t) <= 1.01 * h
            used = stop - t if lands else sign * h
            attempt = self._attempt(t, used, y)
            error = math.inf if attempt is None else self._error(*attempt, y, used)
            if attempt is None or not error <= 1:
                self.rejected += 1
                h = abs(used) * controller.rejected(error)
                if h < 16 * math.ulp(t):
                    raise self._underflow(t, h, error)
                continue
            y1 = self._carry(t, used, y, attempt[0])
            self.sizes.append(used)
            if tape is not None:
                tape.note(y, StepRecord((), used, lands=len(outputs) if lands else None, data=t))
            grown = abs(used) * controller.accepted(error)
            h = max(grown, h) if lands and abs(used) < h else grown
            t, y = (stop if lands else t + used), y1
            if lands:
                outputs.append(y)
        return outputs

    def _fixed(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        y, outputs = y0, [y0]
        for output, nodes in enumerate(
            grid(self.output_times, self.solver.step_size, self.solver.num_steps), start=1
        ):
            for i in range(len(nodes) - 1):
                t, h = nodes[i], nodes[i + 1] - nodes[i]
                attempt = self._attempt(t, h, y)
                if attempt is None:
                    raise self._stalled(t, h)
                if tape is not None:
                    lands = output if i == len(nodes) - 2 else None
                    tape.note(y, StepRecord((), h, lands=lands, data=t))
                y = self._carry(t, h, y, attempt[0])
                self.sizes.append(h)
            outputs.append(y)
        return outputs

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        assert isinstance(record.h, float)
        attempt = self._attempt(record.data, record.h, y)
        if attempt is None:
            raise self._stalled(record.data, record.h)
        return [self._carry(record.data, record.h, y, attempt[0])]

    @torch.no_grad()
    def _attempt(self, t: float, h: float, y: Tensor) -> tuple[list[Tensor], Factored] | None:
        """The stages without a graph, None where Newton fails."""
        solver, y = self.solver, y.detach()
        evaluations = self.counted.stats.nfe_backward
        factored = Factored(jacobian(self.counted, self.time(t), y), h * GAMMA)
        stages: list[Tensor] = []
        for c, weights in zip(C, A, strict=True):
            base = _combine(y, stages, weights, h)
            guess = stages[-1] if stages else torch.zeros_like(y)
            k = solve_stage(
                self.counted, self.time(t + c * h), base, h * GAMMA, guess, factored, solver.rtol, solver.atol
            )
            if k is None:
                return None
            stages.append(k)
        if self.counted.in_backward:
            # Newton's iterations differentiate nothing, and all but the first evaluation were theirs
            iterations = self.counted.stats.nfe_backward - evaluations - 1
            self.counted.add_vjps(-iterations)
        return stages, factored

    def _carry(self, t: float, h: float, y: Tensor, stages: list[Tensor]) -> Tensor:
        """The end of the step, with its gradient where one is wanted."""
        if not torch.is_grad_enabled():
            return _combine(y, stages, B, h)
        carried: list[Tensor] = []
        for c, weights, k in zip(C, A, stages, strict=True):
            base = _combine(y, carried, weights, h)
            carried.append(with_gradient(self.counted, self.time(t + c * h), base, h * GAMMA, k))
        return _combine(y, carried, B, h)

    @torch.no_grad()
    def _error(self, stages: list[Tensor], factored: Factored, y: Tensor, h: float) -> float:
        """RMS of the damped error estimate over tolerance; Hosea, Shampine (1996) on the damping."""
        estimate = sum((b - low) * h * k for b, low, k in zip(B, B_LOW, stages, strict=True))
        assert isinstance(estimate, Tensor)
        scale = y.detach().abs().mul(self.solver.rtol).add_(self.solver.atol)
        norm: float = torch.linalg.vector_norm(factored.solve(estimate) / scale).item()
        return norm / math.sqrt(y.numel())

    def _underflow(self, t: float, h: float, error: float) -> SolverError:
        stats = self.counted.stats
        return StepUnderflowError(
            f"{stats.solver}: the step fell to {h:.3g} at t={t:.6g} with error ratio {error:.3g} "
            f"(NFE {stats.nfe_forward})",
            "loosen rtol and atol, or regularise the field",
        )

    def _stalled(self, t: float, h: float) -> SolverError:
        stats = self.counted.stats
        return SolverError(
            f"{stats.solver}: Newton did not converge at t={t:.6g}, step {h:.3g} (NFE {stats.nfe_forward})",
            "take smaller steps, or rtol and atol instead of fixed steps",
        )


def _combine(y: Tensor, stages: Sequence[Tensor], weights: Sequence[float], h: float) -> Tensor:
    for k, w in zip(stages, weights, strict=False):
        y = torch.add(y, k, alpha=h * w)
    return y
