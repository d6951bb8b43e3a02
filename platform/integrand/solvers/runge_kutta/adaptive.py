"""Adaptive solves with one step size for the whole batch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from integrand.solvers.accounts import CountedField
from integrand.solvers.dense import Piece
from integrand.solvers.errors import StepUnderflowError
from integrand.solvers.initial_step import initial_step
from integrand.solvers.problem import Problem, not_finite
from integrand.solvers.tape import StepRecord, Tape

from .between import Between
from .compiled import compiled_attempt, compiled_step
from .control import PIDController, StepControl, approach
from .jumps import Jumps
from .outputs import Outputs, Picks
from .step import stage_times, step, sum_stages
from .tableau import Tableau


@dataclass(slots=True)
class Attempt:
    """A step before it is accepted.

    Args:
        y1: State at its end.
        stages: The stages.
        size: |y₁|.
        error: RMS of the error estimate over tolerance.
        ends: For the stiffness indicator, where it came with the attempt.
        before: State at which the second-last stage was evaluated, where it was kept.
    """

    y1: Tensor
    stages: list[Tensor]
    size: Tensor
    error: float
    ends: list[float]
    before: Tensor | None


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
        self._weight = control.rtol if isinstance(control.rtol, float) else 1.0
        self._clock, self._device = problem.clock, problem.y0.device
        self._jumps = Jumps(control.jumps, self.start, self.end, self._clock)
        accurate = tableau.dense is not None or tableau.extension is not None
        self._stops = self._jumps.merged((self.end,) if accurate else outputs.stops())
        self._further = self._reused = 0
        self._last_stage_used = False

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        t, y, found = self.start, y0, [y0]
        f0 = self.counted(self._tensor([self._jumps.after(t)])[0], y)
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
            row = self._tensor([*self._times(t, used, t1), used])
            tried = self._attempt(row, used, y, k1, size, self.dense or self.outputs.between(t, t1))
            if not tried.error <= 1 and not self._forced(used, tried.error):
                h, k1 = self._reject(t, used, tried.error), tried.stages[0]
                continue
            self.sizes.append(used)
            taken = self._between(t, t1, used, y, tried.y1, tried.stages)
            if self.dense:
                self.kept.append(taken.complete(t, used))
            picks = self.outputs.pick(t, used, t1)
            found += self.outputs.states(picks, taken)
            if tape is not None:
                nodes = () if self.compiled else row.unbind()[:-1]
                tape.note(y, StepRecord(nodes, used, picks.interior, picks.lands, (row, picks, t, t1)))
            if picks.lands is not None:
                found.append(tried.y1)
            h = self._accept(used, h, lands, tried.error)
            k1 = self._last_stage(tried, taken, t1)
            if t1 == self.end:
                self._finish(h, picks, tried)
                return found
            stop = next(stops) if lands else stop
            t, y, size = t1, tried.y1, tried.size

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
        return [end, *self.outputs.states(picks, self._between(t, t1, h, y, end, stages))]

    def _attempt(
        self, row: Tensor, used: float, y: Tensor, k1: Tensor | None, size: Tensor, inside: bool
    ) -> Attempt:
        if self.compiled:
            # a compiled step unbinds its row itself
            take = compiled_attempt(self.tableau, self.counted, k1 is not None, inside)
            y1, stages, size1, numbers = take(row, y, k1, size, self._floor)
            norm, *ends = numbers.tolist()
            return Attempt(y1, stages, size1, self._ratio(norm, y1), ends, None)
        nodes = row.unbind()[:-1]
        y1, stages, before = step(self.tableau, self.counted, nodes, used, y, k1, all_stages=True)
        norm, size1 = self._error(stages, used, size, y1)
        return Attempt(y1, stages, size1, self._ratio(norm, y1), [], before)

    def _ratio(self, norm: float, y: Tensor) -> float:
        return norm / (self._weight * math.sqrt(y.numel()))

    def _times(self, t: float, used: float, t1: float) -> list[float]:
        jumps = self._jumps
        if not jumps:
            return stage_times(self.tableau, t, used, t1)
        return [jumps.after(t), *stage_times(self.tableau, t, used, jumps.before(t1))[1:]]

    def _between(
        self, t: float, t1: float, used: float, y: Tensor, y1: Tensor, stages: list[Tensor]
    ) -> Between:
        def times() -> Sequence[Tensor]:
            end, c = self._jumps.before(t1), self.tableau.interpolant.c
            return self._tensor([end if node == 1 else t + node * used for node in c]).unbind()

        return Between(self.tableau.interpolant, self.counted, y, y1, stages, used, times)

    def _last_stage(self, tried: Attempt, taken: Between, t1: float) -> Tensor | None:
        """The field at the end of the step, where it was evaluated and is that of the next step's start."""
        slope = taken.slope
        if slope is not None:
            self._further += len(self.tableau.interpolant.c)
        if t1 in self._jumps:
            return None
        if slope is not None and not self.tableau.fsal:
            self._reused += t1 != self.end
            return slope
        return tried.stages[-1] if self.tableau.fsal else None

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

    def _finish(self, h: float, picks: Picks, tried: Attempt) -> None:
        self.next_step = h
        self._last_stage_used = self.tableau.fsal and (picks.inside or self.dense)
        if self._judges_stiffness:
            ends = tried.ends
            if tried.before is not None:
                ends = _end_changes(tried.stages, tried.y1, tried.before)
            self._judge_stiffness(*ends)

    def _tensor(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=self._clock).to(self._device, non_blocking=True)

    @torch.no_grad()
    def _error(self, stages: list[Tensor], h: float, size: Tensor, y1: Tensor) -> tuple[float, Tensor]:
        """Norm of the error estimate over its scale, and |y₁| for the next step; the step's one read-back."""
        size1 = y1.abs()
        scale = torch.maximum(size, size1).add_(self._floor)
        ratio = sum_stages(stages, self.tableau.error_row, h).div_(scale)
        if isinstance(self.control.rtol, Tensor):
            ratio.div_(self.control.rtol)
        return torch.linalg.vector_norm(ratio).item(), size1

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
