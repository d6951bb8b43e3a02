"""Steps of the engine's SDE methods along one path."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class PathSteps(ABC):
    """One solve along a path; an `Integrator`.

    Args:
        step: The method.
        area: Whether it needs the space–time Lévy areas.
        counted: The equation.
        y0: Initial state.
    """

    t0: Tensor

    def __init__(self, step: Step, area: bool, counted: CountedSDE, y0: Tensor) -> None:
        self.counted, self.y0 = counted, y0
        self._step, self._area = step, area
        self._clock = y0.dtype
        self.sizes: list[float] = []
        self.rejected = 0
        self.brownian: Brownian

    def prepare(self, seed: int | None, first_sample: int, brownian: Brownian | None) -> None:
        """Take the path given, or make the one of the seed."""
        if brownian is None:
            brownian = self._path(seed, first_sample, self.counted.noise_shape(self.t0, self.y0))
        self.brownian = brownian

    @abstractmethod
    def _path(self, seed: int | None, first_sample: int, shape: tuple[int, ...]) -> Brownian:
        """The path of a seed that suits the steps."""

    @property
    def differentiated(self) -> int:
        """Evaluations that the outputs depend on."""
        return self.counted.stats.nfe_forward + self.counted.stats.nfe_diffusion

    @abstractmethod
    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""

    def inputs(self) -> tuple[Tensor, ...]:
        """Everything but the state that drift and diffusion depend on; evaluations not made for the solve."""
        y, sde = self.y0.detach(), self.counted.sde
        with Generators(y.device).kept():
            values = (sde.f(self.t0, y), sde.g(self.t0, y))
        self.counted.stats.nfe_forward += 1
        self.counted.stats.nfe_diffusion += 1
        return differentiable_inputs(sde, *values)

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        return [self.advance(*record.data, y, record.times[0])]

    def advance(self, a: float, b: float, y: Tensor, t: Tensor | None = None) -> Tensor:
        """The state at b from the one at a.

        Args:
            a: Start of the step.
            b: Its end.
            y: State at a.
            t: Tensor of a, where it is at hand.
        """
        dw, area = self.brownian.increment(a, b, self._area)
        return self._step(self.counted, self._time(a) if t is None else t, b - a, y, dw, area)

    def _time(self, t: float) -> Tensor:
        return torch.tensor(t, dtype=self._clock, device=self.y0.device)


class FixedSteps(PathSteps):
    """Steps on a fixed grid.

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
        super().__init__(step, area, counted, problem.y0)
        intervals = grid(problem.times, step_size, num_steps)
        self._nodes = [a for nodes in intervals for a in nodes[:-1]] + [problem.times[-1]]
        # index of the output that a step ends on
        self._lands, n = {}, 0
        for output, nodes in enumerate(intervals, start=1):
            n += len(nodes) - 1
            self._lands[n - 1] = output
        self.sizes = [b - a for a, b in pairwise(self._nodes)]
        self._clock = problem.clock_of(min(self.sizes))
        device = problem.y0.device
        self._times = torch.tensor(self._nodes, dtype=self._clock).to(device, non_blocking=True).unbind()
        self.t0 = self._times[0]

    def _path(self, seed: int | None, first_sample: int, shape: tuple[int, ...]) -> Brownian:
        return seeded_path(seed, self._nodes, shape, self.y0, first_sample)

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, outputs = y0, [y0]
        for n, (a, b) in enumerate(pairwise(self._nodes)):
            lands, t = self._lands.get(n), self._times[n]
            if tape is not None:
                tape.note(y, StepRecord((t,), 0.0, lands=lands, data=(a, b)))
            y = self.advance(a, b, y, t)
            if lands is not None:
                outputs.append(y)
        return outputs
