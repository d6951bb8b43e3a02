"""The contract of every sampler: (denoiser, process, grid, noise) → samples and what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from integrand.solvers import Status
from integrand.solvers.options import is_whole

from ..constraints import DataConstraint
from ..denoiser import Denoising
from ..errors import BudgetError, GridError, IncompatibleError
from ..evaluation import Evaluator
from ..grids import ExplicitGrid, TimeGrid
from ..guidance import Guidance
from ..parametrisations import Parametrisation
from ..prediction import Prediction
from ..processes import Node, Process
from ..random_numbers import Noise, Stream
from ..result import SampleResult, mark_failures
from .transfer import combine


class Run:
    """One call of `Sampler.sample`: what a step may use, and what it remembers.

    Args:
        process: The noising process.
        nodes: Times of the steps.
        evaluate: The model, counted.
        noise: Random numbers; None for deterministic samplers.
        grid: The grid that the times are of.
    """

    def __init__(
        self, process: Process, nodes: list[Node], evaluate: Evaluator, noise: Noise | None, grid: TimeGrid
    ) -> None:
        self.process, self.nodes, self.evaluate, self._noise = process, nodes, evaluate, noise
        self.grid = grid
        self.memory: dict[str, Any] = {}
        """What a multistep sampler keeps between steps."""
        self.failed: Tensor | None = None
        """Samples that a sampler froze, shape (batch,), bool."""

    @property
    def last(self) -> int:
        """Index of the last node with σ > 0; after it at most the step to the data is left."""
        return len(self.nodes) - 1 - (self.nodes[-1].sigma == 0)

    def normals(self, n: int, stream: Stream = Stream.STEP) -> Tensor:
        """Normals of the batch for the n-th draw of a stream, shape (batch, ...)."""
        assert self._noise is not None
        return self._noise.normals(n, stream)


class Sampler(ABC):
    """Turns noise into samples of a model; subclasses are one method each.

    They declare what they are as class attributes; one conformance test checks the declarations of every
    `examples()`.
    """

    order: int | None
    """Order of convergence of the global error in the step, for smooth models on a grid that is smooth in λ;
    weak order for stochastic samplers; None where the method has a bias that no step removes."""
    stochastic: bool
    """Whether noise is drawn."""
    multistep: ClassVar[bool] = False
    """Whether a step uses evaluations of earlier steps."""
    evaluations_per_step: int | None = 1
    """Evaluations of one step; None where the count is not proportional to the steps (see `evaluations`)."""
    draws_per_step: int = 1
    """Normals that a step of a stochastic method draws of a stream at most."""
    minimum_steps: int = 1
    """Fewest steps that make sense, one to the data included."""
    spans_intervals: ClassVar[bool] = False
    """Whether a step may span several of the grid's intervals, with stages at the times between them."""
    off_grid: bool = False
    """Whether the model is evaluated between the grid's times."""
    processes: ClassVar[tuple[type[Process], ...]] = (Process,)
    """Processes that the method applies to."""
    parametrisations: ClassVar[tuple[type[Parametrisation], ...]] = (Parametrisation,)
    """Predictions that the method can use."""

    @classmethod
    def examples(cls) -> tuple[Sampler, ...]:
        """Instances whose declarations the conformance test checks; without lowered orders at the end."""
        return (cls(),)

    def prepare(self, run: Run) -> None:  # noqa: B027  # most samplers need nothing
        """Before the first step: what depends on the times only; may drop nodes."""

    @abstractmethod
    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """From run.nodes[i] to run.nodes[i + 1], where σ > 0 at both; x is not to be changed in place."""

    @abstractmethod
    def describe(self) -> str:
        """The sampler in a few words for run names and tables, such as `dpm-solver++ 2M`."""

    def evaluations(self, steps: int, to_zero: bool = False) -> int | None:
        """Evaluations of the model in `steps` steps.

        Args:
            steps: Number of steps.
            to_zero: Whether the last of them goes to the data, which costs one.

        Returns:
            The number, or None where it depends on the model.
        """
        if self.evaluations_per_step is None:
            return None
        return self.evaluations_per_step * (steps - to_zero) + to_zero

    def minimum_nfe(self, to_zero: bool = False) -> int:
        """Fewest evaluations that make sense; 1 where they cannot be chosen."""
        return self.evaluations(self.minimum_steps, to_zero) or 1

    def steps_for(self, nfe: int, to_zero: bool = False) -> int:
        """The most steps that cost at most `nfe` evaluations of the model.

        Raises:
            BudgetError: It is below the sampler's minimum, or the sampler chooses its evaluations itself.
        """
        if self.evaluations(self.minimum_steps, to_zero) is None:
            raise BudgetError(
                f"{self.describe()} chooses its number of evaluations itself",
                "leave nfe out, or take fixed steps",
            )
        least = self.minimum_nfe(to_zero)
        if nfe < least:
            raise BudgetError(
                f"{self.describe()} needs at least NFE {least}, not {nfe}", f"set nfe to {least} or more"
            )
        for steps in range(nfe, self.minimum_steps, -1):
            cost = self.evaluations(steps, to_zero)
            if cost is not None and cost <= nfe:
                return steps
        return self.minimum_steps

    def check(self, denoiser: Denoising, process: Process) -> None:
        """Refuse what the method does not apply to.

        Raises:
            IncompatibleError: Names the sampler and what it applies to.
        """
        for kind, value, allowed in (
            ("process", process, self.processes),
            ("parametrisation", denoiser.parametrisation, self.parametrisations),
        ):
            if not isinstance(value, allowed):
                names = ", ".join(a.__name__ for a in allowed)
                raise IncompatibleError(
                    f"{self.describe()} does not apply to the {kind} {type(value).__name__}",
                    f"it needs {names}; choose another sampler",
                )
        trained = getattr(denoiser, "process", None)
        if trained is not None and trained.describe() != process.describe():
            raise IncompatibleError(
                f"the model was trained on {trained.describe()}, not on {process.describe()}",
                "sample with the model's own process",
            )

    def sample(
        self,
        denoiser: Denoising,
        process: Process,
        grid: TimeGrid,
        x_T: Tensor,
        noise: Noise | None = None,
        *,
        nfe: int | None = None,
        steps: int | None = None,
        condition: Tensor | None = None,
        guidance: float | Guidance | None = None,
        constraint: DataConstraint | None = None,
        trajectory: bool = False,
    ) -> SampleResult:
        """Sample. Gradients are not recorded; the caller puts the network into eval mode.

        Args:
            denoiser: The model.
            process: Its process.
            grid: Where the steps lie.
            x_T: Noise at the grid's first time, shape (batch, ...); see `draw_prior`.
            noise: Random numbers of stochastic samplers, such as `SampleNoise`.
            nfe: Network evaluations per sample that may be made, guidance's included.
            steps: Number of steps, instead of nfe; neither is needed for an `ExplicitGrid`.
            condition: Condition of each sample, shape (batch, ...): class numbers, vectors or embeddings.
            guidance: Classifier-free guidance, or its weight alone; 1 is the plain conditional model.
            constraint: What to do to the predicted x_0; nothing where not given.
            trajectory: Whether to keep the state at every time.

        Returns:
            The samples; those that are not finite are marked and kept.

        Raises:
            BudgetError: nfe or steps do not fit the sampler.
            IncompatibleError: The method does not apply to process or parametrisation, or the state is not
                real.
            GuidanceError: The model does not know conditions, or they are not one for each sample.
            GridError: The first time has no signal and the model or the method needs some.
        """
        self.check(denoiser, process)
        if not x_T.is_floating_point():
            raise IncompatibleError(
                f"{self.describe()} got a state of {str(x_T.dtype).removeprefix('torch.')}",
                "states are real: float32, float64, float16 or bfloat16",
            )
        if self.stochastic and noise is None:
            raise IncompatibleError(
                f"{self.describe()} draws noise and got none", "pass noise=SampleNoise(seed, …)"
            )
        evaluate = Evaluator(denoiser, condition, guidance, constraint)
        nodes = process.nodes(grid.times(process, self._steps(grid, nfe, steps, evaluate.per_call)))
        x = x_T.float() if x_T.dtype in (torch.float16, torch.bfloat16) else x_T
        evaluate.foresee(nodes, x)
        states = [x_T] if trajectory else None
        first = nodes[:1] if self._blind(nodes, denoiser.parametrisation, process, x.dtype) else []
        run = Run(process, nodes[len(first) :], evaluate, noise if self.stochastic else None, grid)
        with torch.no_grad():
            for node in first:
                x = leave_noise(evaluate, x, node, run.nodes[0])
                if states is not None:
                    states.append(x)
            if len(run.nodes) > 1:
                self.prepare(run)
                x = self.run(run, x, states)
        status, failed = mark_failures(x)
        if run.failed is not None and bool(run.failed.any()):
            failed = run.failed if failed is None else failed | run.failed
            status = Status.NON_FINITE if bool(failed.all()) else Status.PARTIAL
        return SampleResult(
            x.to(x_T.dtype),
            evaluate.nfe,
            torch.tensor([node.t for node in (*first, *run.nodes)], dtype=torch.float64),
            self.describe(),
            status,
            failed,
            None if states is None else torch.stack([s.to(x_T.dtype) for s in states]),
        )

    def run(self, run: Run, x: Tensor, states: list[Tensor] | None) -> Tensor:
        """All steps; adds the state after each to `states`."""
        for i in range(run.last):
            x = self.step(run, i, x)
            if states is not None:
                states.append(x)
        if run.last < len(run.nodes) - 1:
            x = self.finish(run, x)
            if states is not None:
                states.append(x)
        return x

    def finish(self, run: Run, x: Tensor) -> Tensor:
        """The step to the data: α(0) times the predicted x_0."""
        return self.last_prediction(run, x).data() * run.nodes[-1].alpha

    def last_prediction(self, run: Run, x: Tensor) -> Prediction:
        """The evaluation at the last node with σ > 0."""
        return run.evaluate(x, run.nodes[run.last])

    def _blind(
        self, nodes: list[Node], parametrisation: Parametrisation, process: Process, dtype: torch.dtype
    ) -> bool:
        """Whether nothing but noise is left at the first time, so that a step by the predicted x_0 leaves it.

        Raises:
            GridError: The model says nothing of x_0 there, or the method has no steps of its own to follow.
        """
        first = nodes[0]
        if first.alpha > 8 * torch.finfo(dtype).eps * first.sigma:
            return False
        where = f"α = {first.alpha:g} at the first time t={first.t:g} of {process.describe()}"
        if parametrisation.needs_signal:
            raise GridError(
                f"{where}, where {parametrisation.name} says nothing of the data",
                "start the grid a little later, or take a model that predicts v or data",
            )
        left = len(nodes) - 2
        if self.evaluations(self.minimum_steps) is None or 0 < left < self.minimum_steps:
            raise GridError(
                f"{where}: a step of its own leaves it, beside those of {self.describe()}",
                "start the grid a little later, or take a method of fixed steps and more of them",
            )
        return True

    def _steps(self, grid: TimeGrid, nfe: int | None, steps: int | None, per_call: int) -> int:
        if isinstance(grid, ExplicitGrid) and steps is None and nfe is None:
            steps = grid.steps
        for name, value in (("nfe", nfe), ("steps", steps)):
            if value is not None and not is_whole(value):
                raise BudgetError(f"{self.describe()} got {name}={value!r}", f"{name} is a whole number")
        if (nfe is None) == (steps is None):
            if nfe is None and self.evaluations(self.minimum_steps) is None:
                return 1 + grid.to_zero
            both = "both nfe and steps" if nfe else "neither nfe nor steps"
            raise BudgetError(f"{self.describe()} got {both}", "set one of the two")
        if steps is None:
            assert nfe is not None
            if nfe < per_call * self.minimum_nfe(grid.to_zero):
                least = per_call * self.minimum_nfe(grid.to_zero)
                guided = " with guidance" if per_call > 1 else ""
                raise BudgetError(
                    f"{self.describe()}{guided} needs at least NFE {least}, not {nfe}",
                    f"set nfe to {least} or more",
                )
            return self.steps_for(nfe // per_call, grid.to_zero)
        if steps < self.minimum_steps:
            raise BudgetError(
                f"{self.describe()} needs at least {self.minimum_steps} steps, not {steps}",
                f"set steps to {self.minimum_steps} or more",
            )
        return steps


def leave_noise(evaluate: Evaluator, x: Tensor, a: Node, b: Node) -> Tensor:
    """From pure noise at a to b by the predicted x_0: x_b = (σ_b/σ_a) x + α_b x̂_0, DDIM's step at α_a = 0."""
    return combine(b.sigma / a.sigma, x, (b.alpha, evaluate(x, a).data()))


def draw_prior(process: Process, grid: TimeGrid, noise: Noise) -> Tensor:
    """x_T: noise of the process's prior at the grid's first time, shape (batch, ...)."""
    start = float(grid.times(process, _any_steps(grid))[0])
    return noise.normals(0, Stream.PRIOR) * process.prior_std(start)


def _any_steps(grid: TimeGrid) -> int:
    return grid.steps if isinstance(grid, ExplicitGrid) else 1 + grid.to_zero
