"""Fixed steps of the engine's SDE methods along one path."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from ..hidden_inputs import differentiable_inputs
from ..problem import Problem, grid
from ..randomness import Generators
from ..tape import StepRecord, Tape
from .brownian import Brownian, seeded_path
from .counted import CountedSDE

Step = Callable[[CountedSDE, Tensor, float, Tensor, Tensor, Tensor | None], Tensor]
"""See `OneStepSDE.step`."""


class FixedSteps:
    """One solve on a fixed grid; an `Integrator`.

    Args:
        step: The method.
        area: Whether it needs the space–time Lévy areas.
        counted: The equation.
        problem: State and times.
        step_size: Longest step.
        num_steps: Number of steps, where no step size is given.
    """

    notes_first = True
    slack = 0.0

    def __init__(
        self,
        step: Step,
        area: bool,
        counted: CountedSDE,
        problem: Problem,
        step_size: float | None,
        num_steps: int | None,
    ) -> None:
        self.counted, self.y0 = counted, problem.y0
        self._step, self._area = step, area
        intervals = grid(problem.times, step_size, num_steps)
        self.nodes = [a for nodes in intervals for a in nodes[:-1]] + [problem.times[-1]]
        # index of the output that a step ends on
        self._lands, n = {}, 0
        for output, nodes in enumerate(intervals, start=1):
            n += len(nodes) - 1
            self._lands[n - 1] = output
        y0 = problem.y0
        clock = problem.clock_of(min(self.sizes))
        self.times = torch.tensor(self.nodes, dtype=clock).to(y0.device, non_blocking=True).unbind()
        self.brownian: Brownian

    @property
    def sizes(self) -> list[float]:
        """Every step, in order."""
        return [b - a for a, b in pairwise(self.nodes)]

    def prepare(self, seed: int | None, first_sample: int, brownian: Brownian | None) -> None:
        """Take the path given, or make the one of the seed."""
        if brownian is None:
            shape = self.counted.noise_shape(self.times[0], self.y0)
            brownian = seeded_path(seed, self.nodes, shape, self.y0, first_sample)
        self.brownian = brownian

    def inputs(self) -> tuple[Tensor, ...]:
        """Everything but the state that drift and diffusion depend on; evaluations not made for the solve."""
        y, sde = self.y0.detach(), self.counted.sde
        with Generators(y.device).kept():
            values = (sde.f(self.times[0], y), sde.g(self.times[0], y))
        self.counted.stats.nfe_forward += 1
        self.counted.stats.nfe_diffusion += 1
        return differentiable_inputs(sde, *values)

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, outputs = y0, [y0]
        for n in range(len(self.nodes) - 1):
            lands = self._lands.get(n)
            if tape is not None:
                tape.note(y, StepRecord((self.times[n],), 0.0, lands=lands, data=n))
            y = self.advance(n, y)
            if lands is not None:
                outputs.append(y)
        return outputs

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        return [self.advance(record.data, y)]

    def advance(self, n: int, y: Tensor) -> Tensor:
        """The state after step n from the one before it."""
        a, b = self.nodes[n], self.nodes[n + 1]
        dw, area = self.brownian.increment(a, b, self._area)
        return self._step(self.counted, self.times[n], b - a, y, dw, area)
