"""Adaptive solves with one step size for the whole batch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from integrand.solvers.accounts import CountedField
from integrand.solvers.clock import times_tensor
from integrand.solvers.dense import Piece
from integrand.solvers.errors import StepUnderflowError
from integrand.solvers.initial_step import initial_step
from integrand.solvers.problem import Problem, not_finite
from integrand.solvers.step_size import PIDController, approach
from integrand.solvers.tape import StepRecord, Tape

from .between import Between
from .compiled import compiled_attempt, compiled_step
from .control import StepControl
from .jumps import Jumps
from .outputs import Outputs, Picks
from .step import stage_times, step, sum_up_to_factor
from .tableau import Tableau

Attempt = tuple[Tensor, list[Tensor], Tensor, float]
"""A step before it is accepted: y₁, the stages, |y₁|, and the RMS of the error estimate over tolerance."""


class AdaptiveSteps:
    """An embedded pair whose step size keeps the RMS error of the batch within tolerance.

    Reads one number back from the device per attempted step.

    Args:
        tableau: The method.
        counted: The field.
        problem: Initial state and times.
        control: What the steps are chosen by.
        outputs: What is asked for.
        compiled: Take the steps through torch.compile.
        dense: Keep every step, to be asked for states between their ends.
        past: Errors that the step control remembers from a solve that this one continues.
    """

    notes_first = False
    slack = 0.0

    def __init__(
        self,
        tableau: Tableau,
        counted: CountedField,
        problem: Problem,
        control: StepControl,
        outputs: Outputs,
        compiled: bool = False,
        dense: bool = False,
        past: tuple[float, float] | None = None,
    ) -> None:
        assert tableau.error_order is not None
        self.tableau = tableau
        self.counted = counted
        self.start, self.end = problem.times[0], problem.times[-1]
        self.sign = 1.0 if self.end > self.start else -1.0
        self.control, self.outputs = control, outputs
        self.compiled, self.dense = compiled, dense
        self.rejected = 0
        self.sizes: list[float] = []
        self.kept: list[Piece] = []
        self.stiffness: float | None = None
        self.next_step = 0.0
        self.controller = PIDController(tableau.error_order, control.pid, control.safety)
        if past is not None:
            self.controller.past = past
        self._floor = control.atol / control.rtol
        weight = control.rtol if isinstance(control.rtol, float) else 1.0
        self._unit = weight * math.sqrt(problem.y0.numel())
        self._clock, self._device = problem.clock, problem.y0.device
        self._jumps = Jumps(control.jumps, self.start, self.end, self._clock)
        accurate = tableau.dense is not None or tableau.extension is not None
        self._stops = self._jumps.merged((self.end,) if accurate else outputs.stops())
        self._further = self._reused = 0
        self._last_stage_used = False
        self._quiet: AbstractContextManager[object] = nullcontext()
        # of the last attempt, for the stiffness indicator: norms, or the state before its last stage
        self._ends: list[float] = []
        self._before: Tensor | None = None

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        t, y, found = self.start, y0, [y0]
        # entering no_grad at every step costs a hundredth of a small field
        self._quiet = torch.no_grad() if torch.is_grad_enabled() else nullcontext()
        f0 = self.counted(times_tensor([self._jumps.after(t)], self._clock, self._device)[0], y)
        h = self._first(y, f0)
        k1: Tensor | None = f0
        size, stops = y.detach().abs(), iter(self._stops)
        stop = next(stops)
        while True:
            left = abs(stop - t)
            length = approach(left, h)
            lands = length == left
            used = self.sign * length
            t1 = stop if lands else t + used
            row, nodes = self._row(t, used, t1)
            if self.compiled:
                inside = self.dense or self.outputs.between(t, t1)
                y1, stages, size1, error = self._attempt_compiled(row, y, k1, size, inside)
            else:
                y1, stages, size1, error = self._attempt(nodes, used, y, k1, size)
            if not error <= 1 and not self._forced(used, error):
                h, k1 = self._reject(t, used, error), stages[0]
                continue
            self.sizes.append(used)
            picks, taken = self.outputs.pick(t, used, t1), None
            if self.dense or picks.interior:
                taken = self._between(t, t1, used, y, y1, stages)
                found += self._asked_for(picks, taken, t, used)
            if tape is not None:
                tape.note(y, StepRecord(nodes, used, picks.interior, picks.lands, (row, picks, t, t1)))
            if picks.lands is not None:
                found.append(y1)
            h = self._accept(used, h, lands, error)
            k1 = self._last_stage(stages, taken, t1)
            if t1 == self.end:
                self._finish(h, picks, stages, y1)
                return found
            stop = next(stops) if lands else stop
            t, y, size = t1, y1, size1

    def join(self, found: Sequence[Tensor]) -> Tensor:
        """All outputs as one tensor."""
        return self.outputs.join(found)

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""
        # the last stage of the last step starts no step; it counts where it shapes outputs inside that step
        own = self.tableau.needed * len(self.sizes) + self._last_stage_used
        return own + self._further - self._reused

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        row, picks, t, t1 = record.data
        h, inside = record.h, picks.inside
        assert isinstance(h, float)
        if self.compiled:
            end, stages = compiled_step(self.tableau, self.counted, inside)(row, y)
        else:
            end, stages, _ = step(self.tableau, self.counted, record.times, h, y, None, all_stages=inside)
        if not picks.interior:
            return [end]
        return [end, *self.outputs.states(picks, self._between(t, t1, h, y, end, stages))]

    def _row(self, t: float, used: float, t1: float) -> tuple[Tensor, Sequence[Tensor]]:
        """The stage times, and one by one; a compiled step takes h behind them and unbinds its row itself."""
        times, jumps = stage_times(self.tableau, t, used, t1), self._jumps
        if jumps.any:
            times = [jumps.after(t), *stage_times(self.tableau, t, used, jumps.before(t1))[1:]]
        if self.compiled:
            return times_tensor([*times, used], self._clock, self._device), ()
        row = times_tensor(times, self._clock, self._device)
        return row, row.unbind()

    def _attempt_compiled(
        self, row: Tensor, y: Tensor, k1: Tensor | None, size: Tensor, inside: bool
    ) -> Attempt:
        take = compiled_attempt(self.tableau, self.counted, k1 is not None, inside)
        y1, stages, size1, numbers = take(row, y, k1, size, self._floor)
        norm, *self._ends = numbers.tolist()
        return y1, stages, size1, norm / self._unit

    def _attempt(
        self, nodes: Sequence[Tensor], used: float, y: Tensor, k1: Tensor | None, size: Tensor
    ) -> Attempt:
        y1, stages, self._before = step(self.tableau, self.counted, nodes, used, y, k1, all_stages=True)
        norm, size1 = self._error(stages, used, size, y1)
        return y1, stages, size1, norm / self._unit

    def _asked_for(self, picks: Picks, taken: Between, t: float, used: float) -> list[Tensor]:
        """The outputs inside a step, which is kept where all are."""
        states = self.outputs.states(picks, taken)
        if self.dense:
            self.kept.append(taken.complete(t, used))
        return states

    def _between(
        self, t: float, t1: float, used: float, y: Tensor, y1: Tensor, stages: list[Tensor]
    ) -> Between:
        def times() -> Sequence[Tensor]:
            end, c = self._jumps.before(t1), self.tableau.interpolant.c
            nodes = [end if node == 1 else t + node * used for node in c]
            return times_tensor(nodes, self._clock, self._device).unbind()

        return Between(self.tableau.interpolant, self.counted, y, y1, stages, used, times)

    def _last_stage(self, stages: list[Tensor], taken: Between | None, t1: float) -> Tensor | None:
        """The field at the end of the step, where it was evaluated and is that of the next step's start."""
        slope = None if taken is None else taken.slope
        if slope is not None:
            self._further += len(self.tableau.interpolant.c)
        if self._jumps.any and t1 in self._jumps:
            return None
        if slope is not None and not self.tableau.fsal:
            self._reused += t1 != self.end
            return slope
        return stages[-1] if self.tableau.fsal else None

    def _forced(self, used: float, error: float) -> bool:
        control = self.control
        return control.force and abs(used) <= control.min_step and math.isfinite(error)

    def _reject(self, t: float, used: float, error: float) -> float:
        """The next step after a rejected one."""
        self.rejected += 1
        h, control = abs(used) * self.controller.rejected(error), self.control
        if control.force:
            h = max(h, min(abs(used), control.min_step))
        if h < max(16 * math.ulp(t), 0.0 if control.force else control.min_step):
            raise self._underflow(t, h, error)
        return h

    def _accept(self, used: float, h: float, lands: bool, error: float) -> float:
        """The next step after an accepted one."""
        grown = abs(used) * self.controller.accepted(error)
        # the step that only met an output says nothing against the longer one before it
        wanted = max(grown, h) if lands and abs(used) < h else grown
        return min(max(wanted, self.control.min_step), self.control.max_step)

    def _finish(self, h: float, picks: Picks, stages: list[Tensor], y1: Tensor) -> None:
        self.next_step = h
        self._last_stage_used = self.tableau.fsal and (picks.inside or self.dense)
        if self._judges_stiffness:
            ends = self._ends if self._before is None else _end_changes(stages, y1, self._before)
            self._judge_stiffness(*ends)
            self._before = None

    def _error(self, stages: list[Tensor], h: float, size: Tensor, y1: Tensor) -> tuple[float, Tensor]:
        """Norm of the error estimate over its scale, and |y₁| for the next step; the step's one read-back."""
        with self._quiet:
            size1 = y1.abs()
            scale = torch.maximum(size, size1).add_(self._floor)
            total, factor = sum_up_to_factor(stages, self.tableau.error_row)
            ratio = total.div_(scale)
            if isinstance(self.control.rtol, Tensor):
                ratio.div_(self.control.rtol)
            return abs(factor * h) * torch.linalg.vector_norm(ratio).item(), size1

    def _first(self, y: Tensor, k1: Tensor) -> float:
        control = self.control
        if control.first_step is not None:
            return min(control.first_step, control.max_step)
        assert self.tableau.error_order is not None
        order = self.tableau.error_order + 1
        h = initial_step(
            self.counted, self.start, self.end, y, k1, order, control.rtol, control.atol, self._clock
        )
        if not math.isfinite(h):
            raise self._underflow(self.start, h, math.nan)
        return min(max(h, control.min_step), control.max_step)

    def _underflow(self, t: float, h: float, error: float) -> Exception:
        stats = self.counted.stats
        if not math.isfinite(error):
            return not_finite(stats.solver, f"at t={t:.6g} (NFE {stats.nfe_forward})")
        return StepUnderflowError(
            f"{stats.solver}: the step fell to {h:.3g} at t={t:.6g} with error ratio {error:.3g} "
            f"(NFE {stats.nfe_forward})",
            "loosen rtol and atol, use a stiff method such as Rodas5P, or regularise the field",
        )

    @property
    def _judges_stiffness(self) -> bool:
        """Whether the last two stages both sit at the end of the step, as the estimate needs."""
        tableau = self.tableau
        return tableau.stability is not None and tableau.fsal and tableau.c[-2] == 1

    def _judge_stiffness(self, change: float, distance: float) -> None:
        """How close the steps came to the stability limit, Hairer, Wanner (1996), IV.2.

        The dominant eigenvalue is estimated from the last two stages.
        """
        assert self.tableau.stability is not None
        if distance > 0:
            typical = statistics.median(abs(h) for h in self.sizes)
            self.stiffness = change / distance * typical / self.tableau.stability


@torch.no_grad()
def _end_changes(stages: list[Tensor], y1: Tensor, before: Tensor) -> list[float]:
    """Norms of the last stage's change and of the change of state behind it."""
    pair = (torch.linalg.vector_norm(stages[-1] - stages[-2]), torch.linalg.vector_norm(y1 - before))
    return torch.stack(pair).tolist()
