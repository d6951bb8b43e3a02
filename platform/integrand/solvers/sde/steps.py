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
from ..reversible_schemes import State
from ..tape import StepRecord, Tape
from .brownian import Brownian, StepNormals, seeded_path
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
    last: State
    notes_first: bool
    slack: float

    def __init__(self, step: Step, area: bool, counted: CountedSDE, y0: Tensor) -> None:
        self.counted, self.y0 = counted, y0
        self._step, self._area = step, area
        self._clock = y0.dtype
        self.plan: list[tuple[float, float, int | None]] = []
        self.rejected = 0
        self.brownian: Brownian

    def prepare(self, seed: int | None, first_sample: int, brownian: Brownian | None) -> None:
        """Take the path given, or make the one of the seed."""
        if brownian is None:
            brownian = self._path(seed, first_sample, self.counted.noise_shape(self.t0, self.y0))
        self.brownian = self.counted.seen(brownian)

    @abstractmethod
    def _path(self, seed: int | None, first_sample: int, shape: tuple[int, ...]) -> Brownian:
        """The path of a seed that suits the steps."""

    @property
    def sizes(self) -> list[float]:
        """Every step that was kept, in order."""
        return [b - a for a, b, _ in self.plan]

    @property
    def differentiated(self) -> int:
        """Evaluations that the outputs depend on."""
        return self.counted.stats.nfe_forward + self.counted.stats.nfe_diffusion

    @abstractmethod
    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""

    def inputs(self) -> tuple[Tensor, ...]:
        """Everything but the state that drift and diffusion depend on; evaluations not made for the solve."""
        y = self.y0.detach()
        with Generators(y.device).kept():
            values = self.counted.probe(self.t0, y)
        return differentiable_inputs(self.counted.sde, *values)

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        a, b = record.data
        return [self.advance(a, b, y, record.times[0])]

    def advance(self, a: float, b: float, y: Tensor, t: Tensor | None = None) -> Tensor:
        """The state at b from the one at a.

        Args:
            a: Start of the step.
            b: Its end.
            y: State at a.
            t: Tensor of a, where it is at hand.
        """
        dw, area = self.brownian.increment(a, b, self._area)
        return self._step(self.counted, self.time(a) if t is None else t, b - a, y, dw, area)

    def time(self, t: float) -> Tensor:
        """T as the equation is called with it."""
        return torch.tensor(t, dtype=self._clock, device=self.y0.device)

    def start(self, y: Tensor) -> State:
        """The state that the method starts from."""
        return (y,)

    def onward(self, a: float, b: float, state: State) -> State:
        """One step from a to b."""
        return (self.advance(a, b, state[0]),)

    def back(self, a: float, b: float, state: State) -> State:
        """The state at a from the one at b, by the method's own step with −h and −ΔW: to its order."""
        dw, _ = self.brownian.increment(a, b, False)
        return (self._step(self.counted, self.time(b), a - b, state[0], -dw, None),)


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
        for output, nodes in enumerate(intervals, start=1):
            self.plan += [(a, b, output if b == nodes[-1] else None) for a, b in pairwise(nodes)]
        self._clock = problem.clock_of(min(self.sizes))
        device = problem.y0.device
        self._times = torch.tensor(self._nodes, dtype=self._clock).to(device, non_blocking=True).unbind()
        self.t0 = self._times[0]

    def prepare(self, seed: int | None, first_sample: int, brownian: Brownian | None) -> None:
        """Take the path given, also one that knows steps only by their number, or make that of the seed."""
        if brownian is not None and not hasattr(brownian, "increment"):
            brownian = StepNormals(brownian, self._nodes)
        super().prepare(seed, first_sample, brownian)

    def _path(self, seed: int | None, first_sample: int, shape: tuple[int, ...]) -> Brownian:
        return seeded_path(seed, self._nodes, shape, self.y0, first_sample)

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, outputs = y0, [y0]
        for t, (a, b, lands) in zip(self._times, self.plan, strict=False):
            if tape is not None:
                tape.note(y, StepRecord((t,), 0.0, lands=lands, data=(a, b)))
            y = self.advance(a, b, y, t)
            if lands is not None:
                outputs.append(y)
        self.last = (y,)
        return outputs
