"""The engine's own SDE methods: steps along seeded paths, backprop or checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from integrand.errors import SpecError

from ..accounts import refuse_dropout
from ..checkpoint import solve_by_checkpoint
from ..errors import SolverOptionError
from ..options import MAX_NFE, require_choice, require_positive, spell, spell_steps
from ..problem import Problem, prepare, require_finite
from ..solution import Solution, SolveStats
from .adaptive import AdaptiveSteps
from .base import SDE, SDESolver
from .brownian import Brownian
from .counted import CountedSDE, check_types
from .rebuilt import solve_rebuilding
from .steps import FixedSteps, PathSteps

Gradient = Literal["backprop", "checkpoint", "adjoint", "reversible"]
ALL_NOISE = ("diagonal", "scalar", "additive", "commutative", "general")


class OneStepSDE(SDESolver):
    """Base of the engine's SDE methods; subclasses are one step each.

    Args:
        step_size: Longest step, in units of t.
        num_steps: Number of steps over the whole time span, instead of step_size.
        gradient: `backprop` keeps the graph of every step; `checkpoint` keeps one state per step and replays
            path and steps, with the same gradient to rounding; `adjoint` (Stratonovich methods) keeps the
            outputs only and rebuilds the states backwards along the path, a gradient of the method's order;
            `reversible` (`ReversibleHeunSDE`) does so exactly. The first that the method has where not given.
        rtol: Relative tolerance of adaptive steps, instead of step_size and num_steps; of the two tolerances
            one serves for both. Step sizes count as constants in the gradient.
        atol: Absolute tolerance of adaptive steps.
        max_nfe: Drift evaluations after which the solve is given up; a million for adaptive steps where not
            given.

    Raises:
        SolverOptionError: Not one way to choose the steps.
    """

    gradients: ClassVar[tuple[str, ...]] = ("backprop", "checkpoint")
    area: ClassVar[bool] = False
    """Whether a step needs the space–time Lévy area of the path beside its increment."""

    adaptive_noise: ClassVar[tuple[str, ...]] = ALL_NOISE
    """Noise types of those above with which steps may follow the error."""

    def __init__(
        self,
        step_size: float | None = None,
        num_steps: int | None = None,
        gradient: Gradient | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        max_nfe: int | None = None,
    ) -> None:
        gradient = gradient or cast(Gradient, self.gradients[0])
        require_choice("gradient", gradient, self.gradients)
        require_positive(step_size=step_size, num_steps=num_steps, rtol=rtol, atol=atol, max_nfe=max_nfe)
        self.is_adaptive = rtol is not None or atol is not None
        self._require_one_way(step_size, num_steps)
        self.step_size, self.num_steps = step_size, num_steps
        self.rtol, self.atol = (rtol or atol or 0.0), (atol or rtol or 0.0)
        self.gradient = gradient
        self.max_nfe = MAX_NFE if max_nfe is None and self.is_adaptive else max_nfe

    def _require_one_way(self, step_size: float | None, num_steps: int | None) -> None:
        given = [n for n, v in (("step_size", step_size), ("num_steps", num_steps)) if v is not None]
        given += ["rtol or atol"] if self.is_adaptive else []
        if len(given) != 1:
            what = " and ".join(given) or "neither step_size nor num_steps nor tolerances"
            raise SolverOptionError(f"{type(self).__name__} got {what}", "set one of the three")

    @staticmethod
    def begin(sde: CountedSDE, t: Tensor, y: Tensor) -> None:
        """What the method checks of an equation at its initial state."""

    @staticmethod
    @abstractmethod
    def step(sde: CountedSDE, t: Tensor, h: float, y: Tensor, dw: Tensor, area: Tensor | None) -> Tensor:
        """One step from t over h with increment ΔW and space–time area H; returns the state at t + h."""

    def describe(self) -> str:
        """Method and steps, such as `eulermaruyama num_steps=100` or `milstein rtol=1e-2 atol=1e-2`."""
        steps = spell_steps(self.step_size, self.num_steps)
        if self.is_adaptive:
            steps = f"rtol={spell(self.rtol)} atol={spell(self.atol)}"
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
        return self.integrate(sde, y0, t, seed, first_sample, brownian, CountedSDE)

    def integrate(
        self,
        sde: SDE,
        y0: Tensor,
        t: Tensor | Sequence[float],
        seed: int | None,
        first_sample: int,
        brownian: Brownian | None,
        count: Callable[[SDE, SolveStats, int | None, bool], CountedSDE],
    ) -> Solution:
        """Integrate the equation that `count` makes of `sde`; for the rest see `SDESolver.solve`."""
        check_types(type(self).__name__, sde, self.noise_types, self.sde_types)
        self._check_adaptive(sde)
        module = sde if isinstance(sde, nn.Module) else nn.Module()
        problem = prepare(module, y0, t)
        stats = SolveStats(solver=self.describe(), gradient=self.gradient, accepted=0, rejected=0)
        if problem.trivial:
            return problem.still(stats)
        if problem.times[-1] < problem.times[0]:
            raise SpecError("an SDE is not solved backwards in time", "pass increasing times")
        counted = count(sde, stats, self.max_nfe, self.is_adaptive)
        with problem.context():
            steps = self._steps(counted, problem)
            self.begin(counted, steps.t0, problem.y0)
            steps.prepare(seed, first_sample, brownian)
            ys = self._run(steps, module, problem)
            require_finite(stats.solver, ys[-1], problem.times[-1], stats.nfe_forward)
        counted.in_backward = True
        stats.accepted, stats.rejected = len(steps.sizes), steps.rejected
        stats.min_step, stats.max_step = min(steps.sizes), max(steps.sizes)
        stats.step_sizes = list(steps.sizes) if self.is_adaptive else None
        return problem.finish(ys, stats)

    def _check_adaptive(self, sde: SDE) -> None:
        if self.is_adaptive and sde.noise_type not in self.adaptive_noise:
            if not self.adaptive_noise:
                raise SolverOptionError(
                    f"{type(self).__name__} takes fixed steps only", "set num_steps or step_size"
                )
            raise SolverOptionError(
                f"{type(self).__name__} with steps that follow the error does not converge with"
                f" {sde.noise_type} noise (Gaines, Lyons 1997)",
                "take fixed steps (num_steps), Milstein or SRK, or a Stratonovich method",
            )

    def _steps(self, counted: CountedSDE, problem: Problem) -> PathSteps:
        if not self.is_adaptive:
            return self._fixed(counted, problem)
        order = self.strong_orders.get(counted.noise_type, self.strong_order or 0.5)
        return AdaptiveSteps(self.step, self.area, order, counted, problem, self.rtol, self.atol)

    def _fixed(self, counted: CountedSDE, problem: Problem) -> FixedSteps:
        return FixedSteps(self.step, self.area, counted, problem, self.step_size, self.num_steps)

    def _run(self, steps: PathSteps, module: nn.Module, problem: Problem) -> Tensor:
        y0, counted = problem.y0, steps.counted
        if self.gradient != "backprop" and torch.is_grad_enabled():
            if self.gradient != "checkpoint" or not steps.notes_first:
                refuse_dropout(module, self.gradient)
            inputs = steps.inputs()
            if (inputs or y0.requires_grad) and self.gradient == "checkpoint":
                return torch.stack(solve_by_checkpoint(steps, y0, inputs))
            if inputs or y0.requires_grad:
                return torch.stack(solve_rebuilding(steps, y0, inputs, self.gradient))
        ys = torch.stack(steps.run(y0, None))
        if ys.requires_grad:
            vjps = steps.differentiated

            def arrived(_: Tensor) -> None:
                counted.stats.vjps += vjps

            ys.register_hook(arrived)  # type: ignore[no-untyped-call]  # torch
        return ys
