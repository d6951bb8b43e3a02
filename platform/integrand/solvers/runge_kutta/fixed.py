"""Fixed-step solves: every output time is a node, nothing is read back from the device."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from integrand.solvers.accounts import CountedField
from integrand.solvers.problem import Problem, grid
from integrand.solvers.tape import StepRecord, Tape

from .compiled import compiled_step
from .step import stage_times, step
from .tableau import Tableau


class FixedSteps:
    """An explicit method on a fixed grid.

    Args:
        tableau: The method.
        counted: The field.
        problem: Initial state and times.
        step_size: Longest step, or None.
        num_steps: Number of steps over the whole span, where step_size is None.
        compiled: Take the steps through torch.compile.
    """

    def __init__(
        self,
        tableau: Tableau,
        counted: CountedField,
        problem: Problem,
        step_size: float | None,
        num_steps: int | None,
        compiled: bool = False,
    ) -> None:
        self.tableau = tableau
        self.counted = counted
        self.intervals = grid(problem.times, step_size, num_steps)
        spans = [(a, b) for nodes in self.intervals for a, b in itertools.pairwise(nodes)]
        self.sizes = [b - a for a, b in spans]
        values = [stage_times(tableau, a, b - a, b) for a, b in spans]
        y0 = problem.y0
        # all times in one transfer, the step behind its stages' times; a row is a view
        rows = [[*row, b - a] for row, (a, b) in zip(values, spans, strict=True)]
        clock = problem.clock_of(min(map(abs, self.sizes)))
        self.times = torch.tensor(rows, dtype=clock).to(y0.device, non_blocking=True)
        # a compiled step unbinds its row itself
        self.nodes = [()] * len(spans) if compiled else [row.unbind()[:-1] for row in self.times]
        self._compiled = compiled_step(tableau, counted, False) if compiled else None

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, outputs, n = y0, [y0], 0
        field, tableau = self.counted, self.tableau
        for output, nodes in enumerate(self.intervals, start=1):
            last = n + len(nodes) - 2
            for i in range(n, last + 1):
                row, times = self.times[i], self.nodes[i]
                if tape is not None:
                    lands = output if i == last else None
                    tape.note(y, StepRecord(times, self.sizes[i], lands=lands, data=row))
                if self._compiled is not None:
                    y, _ = self._compiled(row, y)
                else:
                    y, _, _ = step(tableau, field, times, self.sizes[i], y, None, all_stages=False)
            outputs.append(y)
            n = last + 1
        return outputs

    @property
    def differentiated(self) -> int:
        """Evaluations whose values reach the outputs, and so are differentiated by backprop."""
        return self.tableau.needed * len(self.sizes)

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        if self._compiled is not None:
            return [self._compiled(record.data, y)[0]]
        end, _, _ = step(self.tableau, self.counted, record.times, record.h, y, None, all_stages=False)
        return [end]
