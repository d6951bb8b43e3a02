"""Adaptive solves with one step size for the whole batch."""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor

from integrand.solvers.accounts import CountedField
from integrand.solvers.errors import StepUnderflowError
from integrand.solvers.initial_step import initial_step
from integrand.solvers.problem import Problem, not_finite
from integrand.solvers.tape import StepRecord, Tape

from .compiled import compiled_attempt, compiled_step
from .control import PIController
from .step import add_stages, stage_times, step, sum_stages
from .tableau import Tableau


class AdaptiveSteps:
    """An embedded pair whose step size keeps the RMS error of the batch within tolerance.

    Reads one number back from the device per attempted step.

    Args:
        tableau: The method.
        counted: The field.
        problem: Initial state and times.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        first_step: First step, chosen from the field where None.
        max_step: Longest step, unbounded where None.
        compiled: Take the steps through torch.compile.
    """

    def __init__(
        self,
        tableau: Tableau,
        counted: CountedField,
        problem: Problem,
        rtol: float,
        atol: float,
        first_step: float | None,
        max_step: float | None,
        compiled: bool = False,
    ) -> None:
        assert tableau.error_order is not None
        self.tableau = tableau
        self.counted = counted
        self.output_times = problem.times
        self.rtol, self.atol = rtol, atol
        self.first_step = first_step
        self.max_step = math.inf if max_step is None else max_step
        self.compiled = compiled
        self.rejected = 0
        self.sizes: list[float] = []
        self.stiffness: float | None = None
        self._last_stage_used = False
        self._error_order = tableau.error_order
        self._clock, self._device = problem.clock, problem.y0.device

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        tableau, field, times = self.tableau, self.counted, self.output_times
        t, end = times[0], times[-1]
        sign = 1.0 if end > t else -1.0
        dense = tableau.dense is not None
        y, outputs = y0, [y0]
        f0 = field(self._tensor([t])[0], y)
        h = self._first(y, f0)
        k1: Tensor | None = f0
        controller = PIController(self._error_order)
        size = y.detach().abs()
        while len(outputs) < len(times):
            stop = end if dense else times[len(outputs)]
            # a hair longer than allowed beats a last step of a hair
            lands = abs(stop - t) <= 1.01 * h
            used = stop - t if lands else sign * h
            t1 = stop if lands else t + used
            row = self._tensor([*stage_times(tableau, t, used, t1), used])
            # a compiled step unbinds its row itself
            nodes = () if self.compiled else row.unbind()[:-1]
            if self.compiled:
                inside = len(outputs) < len(times) - 1 and sign * (t1 - times[len(outputs)]) > 0
                take = compiled_attempt(tableau, self.counted, k1 is not None, inside)
                y1, stages, size1, numbers = take(row, y, k1, size, self.atol / self.rtol)
                norm, *ends = numbers.tolist()
            else:
                y1, stages, before = step(tableau, field, nodes, used, y, k1, all_stages=True)
                norm, size1 = self._error(stages, used, size, y1)
            error = norm / (self.rtol * math.sqrt(y1.numel()))
            if not error <= 1:
                self.rejected += 1
                h = abs(used) * controller.rejected(error)
                if h < 16 * math.ulp(t):
                    raise self._underflow(t, h, error)
                k1 = stages[0]
                continue
            self.sizes.append(used)
            interior: list[tuple[int, float]] = []
            while len(outputs) < len(times) - 1 and sign * (t1 - times[len(outputs)]) > 0:
                theta = (times[len(outputs)] - t) / used
                interior.append((len(outputs), theta))
                outputs.append(add_stages(y, stages, tableau.dense_row(theta), used))
            landed = t1 == times[len(outputs)]
            if tape is not None:
                tape.note(y, StepRecord(nodes, used, interior, len(outputs) if landed else None, row))
            if landed:
                outputs.append(y1)
            if len(outputs) == len(times):
                self._last_stage_used = bool(interior)
                if self._judges_stiffness:
                    self._judge_stiffness(*(ends if self.compiled else _end_changes(stages, y1, before)))
            grown = abs(used) * controller.accepted(error)
            # the step that only met an output says nothing against the longer one before it
            h = min(max(grown, h) if lands and abs(used) < h else grown, self.max_step)
            t, y, size = t1, y1, size1
            k1 = stages[-1] if tableau.fsal else None
        return outputs

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""
        tableau, accepted = self.tableau, len(self.sizes)
        if not tableau.fsal:
            return tableau.needed * accepted
        # the last stage of the last step starts no step; it counts where it shapes outputs inside that step
        return tableau.needed * accepted + self._last_stage_used

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        inside = bool(record.interior)
        if self.compiled:
            end, stages = compiled_step(self.tableau, self.counted, inside)(record.data, y)
        else:
            end, stages, _ = step(
                self.tableau, self.counted, record.times, record.h, y, None, all_stages=inside
            )
        rows = (self.tableau.dense_row(theta) for _, theta in record.interior)
        return [end, *(add_stages(y, stages, weights, record.h) for weights in rows)]

    def _tensor(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=self._clock).to(self._device, non_blocking=True)

    @torch.no_grad()
    def _error(self, stages: list[Tensor], h: float, size: Tensor, y1: Tensor) -> tuple[float, Tensor]:
        """Norm of the error estimate over its scale, and |y₁| for the next step; the step's one read-back."""
        size1 = y1.abs()
        scale = torch.maximum(size, size1).add_(self.atol / self.rtol)
        ratio = sum_stages(stages, self.tableau.error_row, h).div_(scale)
        return torch.linalg.vector_norm(ratio).item(), size1

    def _first(self, y: Tensor, k1: Tensor) -> float:
        times = self.output_times
        if self.first_step is not None:
            return min(self.first_step, self.max_step)
        order = self._error_order + 1
        h = initial_step(self.counted, times[0], times[-1], y, k1, order, self.rtol, self.atol, self._clock)
        if not math.isfinite(h):
            raise self._underflow(times[0], h, math.nan)
        return min(h, self.max_step)

    def _underflow(self, t: float, h: float, error: float) -> Exception:
        stats = self.counted.stats
        if not math.isfinite(error):
            return not_finite(stats.solver, f"at t={t:.6g} (NFE {stats.nfe_forward})")
        return StepUnderflowError(
            f"{stats.solver}: the step fell to {h:.3g} at t={t:.6g} with error ratio {error:.3g} "
            f"(NFE {stats.nfe_forward})",
            "loosen rtol and atol, use a stiff method such as SDIRK3, or regularise the field",
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
