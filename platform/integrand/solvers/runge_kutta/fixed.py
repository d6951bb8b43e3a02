"""Fixed-step solves: every output time is a node, nothing is read back from the device."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from integrand.solvers.accounts import CountedField
from integrand.solvers.clock import times_tensor
from integrand.solvers.dense import Piece
from integrand.solvers.problem import Problem, grid
from integrand.solvers.tape import StepRecord, Tape

from .between import Between
from .compiled import compiled_step
from .jumps import Jumps
from .outputs import Outputs
from .step import stage_times, step
from .tableau import Tableau


class FixedSteps:
    """An explicit method on a fixed grid.

    Args:
        tableau: The method.
        counted: The field.
        problem: Initial state and times.
        outputs: What is asked for.
        step_size: Longest step, or None.
        num_steps: Number of steps over the whole span, where step_size is None.
        jumps: Times where the field jumps: they are nodes.
        compiled: Take the steps through torch.compile.
        dense: Keep every step, to be asked for states between their ends.
    """

    notes_first = True
    slack = 0.0

    def __init__(
        self,
        tableau: Tableau,
        counted: CountedField,
        problem: Problem,
        outputs: Outputs,
        step_size: float | None,
        num_steps: int | None,
        jumps: Sequence[float] = (),
        compiled: bool = False,
        dense: bool = False,
    ) -> None:
        self.tableau = tableau
        self.counted = counted
        self.outputs, self.dense = outputs, dense
        start, end = problem.times[0], problem.times[-1]
        if step_size is None and num_steps is not None:
            step_size = abs(end - start) / num_steps
        inner = Jumps(jumps, start, end, torch.float64)
        stops = [start, *inner.merged(outputs.stops())]
        self.spans = [pair for nodes in grid(stops, step_size, None) for pair in itertools.pairwise(nodes)]
        self.sizes = [b - a for a, b in self.spans]
        clock = problem.clock_of(min(map(abs, self.sizes)))
        self._jumps = Jumps(jumps, start, end, clock) if inner.any else inner
        y0 = problem.y0
        self._device, self._clock = y0.device, clock
        times = [self._stage_times(a, b) for a, b in self.spans]
        self.nodes: Sequence[Sequence[Tensor]] = [()] * len(times)
        self._rows: Sequence[Tensor | None] = [None] * len(times)
        if compiled:
            # a compiled step takes h behind the times of its stages and unbinds its row itself
            rows = [[*row, h] for row, h in zip(times, self.sizes, strict=True)]
            self._rows = torch.tensor(rows, dtype=clock).to(y0.device, non_blocking=True).unbind()
        else:
            self.nodes = self._scalars(times)
        self.picks = [outputs.pick(a, b - a, b) for a, b in self.spans]
        self.kept: list[Piece] = []
        self._further = self._reused = 0
        self._compiled = compiled_step if compiled else None

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, k1, found = y0, None, [y0]
        self.kept, self._further, self._reused = [], 0, 0
        plain = self._compiled is None and not self.dense
        for n, (h, times, picks) in enumerate(zip(self.sizes, self.nodes, self.picks, strict=True)):
            if tape is not None:
                data = (self._rows[n], picks, *self.spans[n])
                tape.note(y, StepRecord(times, h, picks.interior, picks.lands, data))
            if plain and not picks.interior:
                # nothing is asked for but the end: no object for what lies between
                y, _, _ = step(self.tableau, self.counted, times, h, y, k1, all_stages=False)
                k1 = None
                if picks.lands is not None:
                    found.append(y)
                continue
            inside = picks.inside or self.dense
            taken = self._take(*self.spans[n], h, y, self._rows[n], times, k1, inside)
            if self.dense:
                self.kept.append(taken.complete(self.spans[n][0], h))
            found += self.outputs.states(picks, taken)
            y, k1 = taken.y1, self._last_stage(taken, inside, n)
            if picks.lands is not None:
                found.append(y)
        return found

    def join(self, found: Sequence[Tensor]) -> Tensor:
        """All outputs as one tensor."""
        return self.outputs.join(found)

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""
        return self.tableau.needed * len(self.sizes) + self._further - self._reused

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        row, picks, t, t1 = record.data
        h = record.h
        assert isinstance(h, float)
        taken = self._take(t, t1, h, y, row, record.times, None, picks.inside)
        return [taken.y1, *self.outputs.states(picks, taken)]

    def _take(
        self,
        t: float,
        t1: float,
        h: float,
        y: Tensor,
        row: Tensor | None,
        times: Sequence[Tensor],
        k1: Tensor | None,
        inside: bool,
    ) -> Between:
        if self._compiled is not None:
            y1, stages = self._compiled(self.tableau, self.counted, inside)(row, y)
        else:
            y1, stages, _ = step(self.tableau, self.counted, times, h, y, k1, all_stages=inside)

        def further() -> Sequence[Tensor]:
            end, c = self._jumps.before(t1), self.tableau.interpolant.c
            nodes = [end if node == 1 else t + node * h for node in c]
            return self._scalars([nodes])[0]

        return Between(self.tableau.interpolant, self.counted, y, y1, stages, h, further)

    def _scalars(self, rows: Sequence[Sequence[float]]) -> list[Sequence[Tensor]]:
        """All times in one transfer, each a view."""
        flat = [t for row in rows for t in row]
        views, n = times_tensor(flat, self._clock, self._device).unbind(), len(rows[0])
        return [views[i : i + n] for i in range(0, len(views), n)]

    def _stage_times(self, t: float, t1: float) -> list[float]:
        if not self._jumps.any:
            return stage_times(self.tableau, t, t1 - t, t1)
        times = stage_times(self.tableau, t, t1 - t, self._jumps.before(t1))
        return [self._jumps.after(t), *times[1:]]

    def _last_stage(self, taken: Between, inside: bool, n: int) -> Tensor | None:
        """The field at the end of the step, where it was evaluated: the next step's first stage."""
        if not inside:
            return None
        further = len(self.tableau.interpolant.c)
        slope = taken.slope if further else taken.stages[-1]
        self._further += further or self.tableau.stages - self.tableau.needed
        if self.spans[n][1] in self._jumps or self._compiled or n == len(self.spans) - 1:
            return None
        self._reused += 1
        return slope
