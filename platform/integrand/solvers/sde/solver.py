"""The engine's own SDE methods: fixed steps, seeded paths, backprop or checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import refuse_dropout
from ..errors import SolverOptionError
from ..hidden_inputs import differentiable_inputs
from ..options import require_choice, require_positive, spell
from ..problem import Problem, grid, prepare, require_finite
from ..solution import Solution, SolveStats
from ..tape import StepRecord, Tape, solve_by_checkpoint
from .base import SDE, SDESolver
from .brownian import BrownianPath, SeededBrownian, draw_seed
from .counted import CountedSDE, check_types


class FixedStepSDE(SDESolver):
    """Base of the engine's SDE methods; subclasses are one step each.

    Args:
        step_size: Longest step, in units of t.
        num_steps: Number of steps over the whole time span, instead of step_size.
        gradient: `backprop` keeps the graph of every step; `checkpoint` keeps one state per step and replays
            path and steps, with the same gradient to rounding.

    Raises:
        SolverOptionError: Neither or both of step_size and num_steps are set.
    """

    gradients: ClassVar[tuple[str, ...]] = ("backprop", "checkpoint")
    area: ClassVar[bool] = False
    """Whether a step needs the double integral of the path beside its increment."""

    def __init__(
        self,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Literal["backprop", "checkpoint"] = "backprop",
    ) -> None:
        require_choice("gradient", gradient, self.gradients)
        require_positive(step_size=step_size, num_steps=num_steps)
        if (step_size is None) == (num_steps is None):
            both = "both step_size and num_steps" if step_size else "neither step_size nor num_steps"
            raise SolverOptionError(f"{type(self).__name__} got {both}", "set one of the two")
        self.step_size, self.num_steps = step_size, num_steps
        self.gradient = gradient

    @staticmethod
    @abstractmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, z: Tensor, area: Tensor | None) -> Tensor:
        """One step from t over h with normals z (ΔW = √h z) and ζ; returns the state at t + h."""

    def describe(self) -> str:
        """Method and steps, such as `eulermaruyama num_steps=100`."""
        steps = f"num_steps={self.num_steps}" if self.num_steps else f"step_size={spell(self.step_size or 0)}"
        return f"{type(self).__name__.lower()} {steps}"

    def solve(
        self,
        sde: SDE,
        y0: Tensor,
        t: Tensor | Sequence[float],
        seed: int | None = None,
        first_sample: int = 0,
        brownian: BrownianPath | None = None,
    ) -> Solution:
        """Integrate; see `SDESolver.solve`. A given `brownian` replaces the seeded path."""
        check_types(type(self).__name__, sde, self.noise_types, self.sde_types)
        module = sde if isinstance(sde, nn.Module) else nn.Module()
        problem = prepare(module, y0, t)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        if problem.times[-1] < problem.times[0]:
            raise SpecError("an SDE is not solved backwards in time", "pass increasing times")
        counted = CountedSDE(sde, stats)
        with problem.context():
            integrator = _SDESteps(self, counted, problem, seed, first_sample, brownian)
            ys = self._run(integrator, module, problem)
            require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.in_backward = True
        sizes = integrator.sizes
        stats.accepted, stats.min_step, stats.max_step = len(sizes), min(sizes), max(sizes)
        return problem.finish(ys, stats)

    def _run(self, integrator: _SDESteps, module: nn.Module, problem: Problem) -> Tensor:
        y0, counted = problem.y0, integrator.counted
        if self.gradient == "checkpoint" and torch.is_grad_enabled():
            refuse_dropout(module, "checkpoint")
            inputs = integrator.inputs(module)
            if inputs or y0.requires_grad:
                return torch.stack(solve_by_checkpoint(integrator, y0, inputs))
        ys = torch.stack(integrator.run(y0, None))
        if ys.requires_grad:
            vjps = counted.stats.nfe_forward + counted.stats.nfe_diffusion

            def arrived(_: Tensor) -> None:
                counted.stats.vjps += vjps

            ys.register_hook(arrived)  # type: ignore[no-untyped-call]  # torch
        return ys


class _SDESteps:
    """One solve; an `Integrator`."""

    def __init__(
        self,
        solver: FixedStepSDE,
        counted: CountedSDE,
        problem: Problem,
        seed: int | None,
        first_sample: int,
        brownian: BrownianPath | None,
    ) -> None:
        self.counted, self.solver = counted, solver
        self.intervals = grid(problem.times, solver.step_size, solver.num_steps)
        starts = [a for nodes in self.intervals for a in nodes[:-1]]
        self.sizes = [b - a for nodes in self.intervals for a, b in pairwise(nodes)]
        y0 = problem.y0
        clock = problem.clock_of(min(map(abs, self.sizes)))
        self.times = torch.tensor(starts, dtype=clock).to(y0.device, non_blocking=True).unbind()
        self.y0 = y0
        if brownian is None:
            # a diagonal path has the state's shape: no evaluation is needed to learn it
            shape = tuple(y0.shape) if counted.diagonal else counted.noise_shape(self.times[0], y0)
            key = draw_seed() if seed is None else seed
            brownian = SeededBrownian(key, first_sample, shape, y0.dtype, y0.device, solver.area)
        self.brownian = brownian

    def inputs(self, module: nn.Module) -> tuple[Tensor, ...]:
        """Everything but the state that drift and diffusion depend on; evaluations not made for the solve."""
        y = self.y0.detach()
        values = (self.counted.sde.f(self.times[0], y), self.counted.sde.g(self.times[0], y))
        self.counted.stats.nfe_forward += 1
        self.counted.stats.nfe_diffusion += 1
        found = {id(x): x for value in values for x in differentiable_inputs(module, value)}
        return tuple(found.values())

    def run(self, y0: Tensor, tape: Tape | None) -> list[Tensor]:
        """Solve; see `Integrator.run`."""
        y, outputs, n = y0, [y0], 0
        for output, nodes in enumerate(self.intervals, start=1):
            for i in range(len(nodes) - 1):
                if tape is not None:
                    lands = output if i == len(nodes) - 2 else None
                    tape.note(y, StepRecord((self.times[n],), self.sizes[n], lands=lands, data=n))
                y = self._step(n, y)
                n += 1
            outputs.append(y)
        return outputs

    def replay(self, record: StepRecord, y: Tensor) -> list[Tensor]:
        """Repeat one step; see `Integrator.replay`."""
        return [self._step(record.data, y)]

    def _step(self, n: int, y: Tensor) -> Tensor:
        z, area = self.brownian.normals(n)
        return self.solver.step(self.counted, self.times[n], self.sizes[n], y, z, area)
