"""The loop of implicit methods: adaptive or fixed steps, replayed for `checkpoint`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from ..accounts import Counted
from ..dense import Piece
from ..errors import SolverError, StepUnderflowError
from ..initial_step import initial_step
from ..problem import Problem, grid, not_finite
from ..step_size import PIDController, approach
from ..tape import StepRecord, Tape
from .step import Step, Stepper

HALVE = 0.5
"""What is left of a step whose equations could not be solved."""


class ImplicitSteps:
    """One solve; an `Integrator`.

    Args:
        stepper: The method.
        counted: The field as a whole.
        problem: Initial state and times.
        tolerances: rtol and atol of adaptive steps, None for fixed ones.
        fixed: step_size and num_steps of fixed ones.
        first_step: First adaptive step, chosen from the field where None.
        max_step: Longest adaptive step.
        look: Shown every accepted step; the solve ends where it returns true.
    """

    notes_first = False

    def __init__(
        self,
        stepper: Stepper,
        counted: Counted,
        problem: Problem,
        tolerances: tuple[float, float] | None,
        fixed: tuple[float | None, int | None],
        first_step: float | None,
        max_step: float | None,
        look: Callable[[Piece], bool] | None = None,
    ) -> None:
        self.stepper, self.counted = stepper, counted
        self.output_times = problem.times
        self.tolerances, self.fixed = tolerances, fixed
        self.first_step, self.max_step = first_step, math.inf if max_step is None else max_step
        self.slack = stepper.slack
        self.sizes: list[float] = []
        self.rejected = 0
        self._look, self._ended = look, False
        self._dtype, self._device = problem.y0.dtype, problem.y0.device
        # a step below this resolves no time, at t = 0 too
        self._finest = 1e-30 * abs(problem.times[-1] - problem.times[0])

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        self.stepper.graph = self.stepper.graph and torch.is_grad_enabled()
        if self.tolerances is None:
            return self._fixed(y0, tape)
        times = self.output_times
        sign = 1.0 if times[-1] > times[0] else -1.0
        t, y, outputs = times[0], y0, [y0]
        h = self._first(y)
        controller = PIDController(self.stepper.error_order, self.stepper.pid)
        while len(outputs) < len(times):
            stop = times[-1] if self.stepper.dense else times[len(outputs)]
            left = abs(stop - t)
            length = approach(left, h)
            lands, used = length == left, sign * length
            step = self.stepper.attempt(t, used, y)
            error = math.inf if step is None else self._error(step, y)
            if step is None or not error <= 1:
                self.rejected += 1
                h = length * (HALVE if step is None else controller.rejected(error))
                controller.hold()
                if h < 16 * math.ulp(t) or h < self._finest:
                    raise self._underflow(t, h, error)
                continue
            self._keep(t, used, y, stop if lands else t + used, step, outputs, tape)
            if self._ended:
                return outputs
            grown = self.stepper.settle(length, length * controller.accepted(error))
            # the step that only met an output says nothing against the longer one before it
            h = min(max(grown, h) if lands and length < h else grown, self.max_step)
            t, y = (stop if lands else t + used), step.end
        return outputs

    def _keep(
        self, t: float, h: float, y: Tensor, t1: float, step: Step, outputs: list[Tensor], tape: Tape | None
    ) -> None:
        """Note an accepted step, its outputs among those of the solve."""
        times = self.output_times
        self.sizes.append(h)
        if self._look is not None and step.polynomial is not None:
            self._ended = self._look(step.polynomial())
        interior: list[tuple[int, float]] = []
        while step.dense and len(outputs) < len(times) - 1 and (times[len(outputs)] - t1) * h < 0:
            theta = (times[len(outputs)] - t) / h
            interior.append((len(outputs), theta))
            outputs.append(step.dense(theta))
        landed = t1 == times[len(outputs)]
        if tape is not None:
            lands = len(outputs) if landed else None
            tape.note(y, StepRecord((), h, interior, lands, data=(t, step.data)))
        if landed:
            outputs.append(step.end)

    def _fixed(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        y, outputs = y0, [y0]
        for nodes in grid(self.output_times, *self.fixed):
            for t, t1 in pairwise(nodes):
                step = self.stepper.attempt(t, t1 - t, y)
                if step is None:
                    raise self._stalled(t, t1 - t)
                self.stepper.settle(t1 - t, t1 - t)
                self._keep(t, t1 - t, y, t1, step, outputs, tape)
                if self._ended:
                    return outputs
                y = step.end
        return outputs

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        assert isinstance(record.h, float)
        t, data = record.data
        before = self.counted.stats.nfe_backward
        self.stepper.graph = True
        step = self.stepper.replay(t, record.h, y, data)
        self.stepper.forget()
        if step is None:
            raise self._stalled(t, record.h)
        # every recomputation was charged with a product; those made are counted where they are made
        made = self.counted.stats.nfe_backward - before
        self.counted.add_vjps(self.stepper.differentiated - made)
        return [step.end, *(step.dense(theta) for _, theta in record.interior if step.dense)]

    def _first(self, y: Tensor) -> float:
        """The first step, at most as long as allowed."""
        assert self.tolerances is not None
        times = self.output_times
        if self.first_step is not None:
            return min(self.first_step, self.max_step, abs(times[-1] - times[0]))
        f0, order = self.stepper.start(times[0], y).detach(), self.stepper.error_order + 1
        h = initial_step(
            self.counted,
            times[0],
            times[-1],
            y.detach(),
            f0,
            order,
            *self.tolerances,
            self.stepper.time(0.0).dtype,
        )
        if not math.isfinite(h):
            raise not_finite(self.counted.stats.solver, f"at t={times[0]:.6g}")
        return min(h, self.max_step)

    @torch.no_grad()
    def _error(self, step: Step, y: Tensor) -> float:
        """RMS of the error estimate over tolerance."""
        assert self.tolerances is not None
        rtol, atol = self.tolerances
        scale = torch.maximum(y.abs(), step.end.abs()).mul_(rtol).add_(atol)
        norm: float = torch.linalg.vector_norm(step.error / scale).item()
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
