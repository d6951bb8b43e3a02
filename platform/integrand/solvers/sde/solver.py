"""The engine's own SDE methods: steps along seeded paths, backprop or checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import refuse_dropout
from ..checkpoint import solve_by_checkpoint
from ..errors import SolverOptionError
from ..options import require_choice, require_positive, spell
from ..problem import Problem, prepare, require_finite
from ..solution import Solution, SolveStats
from .base import SDE, SDESolver
from .brownian import Brownian
from .counted import CountedSDE, check_types
from .steps import FixedSteps


class OneStepSDE(SDESolver):
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
    """Whether a step needs the space–time Lévy area of the path beside its increment."""

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
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step from t over h with increment ΔW and space–time area H; returns the state at t + h."""

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
        brownian: Brownian | None = None,
    ) -> Solution:
        """Integrate; see `SDESolver.solve`."""
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
            steps = FixedSteps(self.step, self.area, counted, problem, self.step_size, self.num_steps)
            steps.prepare(seed, first_sample, brownian)
            ys = self._run(steps, module, problem)
            require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.in_backward = True
        sizes = steps.sizes
        stats.accepted, stats.min_step, stats.max_step = len(sizes), min(sizes), max(sizes)
        return problem.finish(ys, stats)

    def _run(self, steps: FixedSteps, module: nn.Module, problem: Problem) -> Tensor:
        y0, counted = problem.y0, steps.counted
        if self.gradient == "checkpoint" and torch.is_grad_enabled():
            refuse_dropout(module, "checkpoint")
            inputs = steps.inputs()
            if inputs or y0.requires_grad:
                return torch.stack(solve_by_checkpoint(steps, y0, inputs))
        ys = torch.stack(steps.run(y0, None))
        if ys.requires_grad:
            vjps = counted.stats.nfe_forward + counted.stats.nfe_diffusion

            def arrived(_: Tensor) -> None:
                counted.stats.vjps += vjps

            ys.register_hook(arrived)  # type: ignore[no-untyped-call]  # torch
        return ys
