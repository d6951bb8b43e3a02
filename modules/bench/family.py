"""Families whose equation moves a hidden state: a bench lifts the input into it and reads the output out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import Metric

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.quantities import Direction
from integrand.series import Query, Series
from integrand.solvers import Solution, SolveStats
from integrand.spec import ImageSpec, SeriesSpec, Spec, VectorSpec
from integrand.tasks.base import VectorField

from ..family import FamilyModule
from ..schedules import Interval
from .base import Bench, DynamicsMaker, FieldMaker
from .image.head import ReadOut
from .image.shared import SharedLayout
from .net import check_inputs
from .noise_contract import Noise
from .own_field import OwnFields
from .series import shared_series
from .stages import stages_of
from .vector import SharedVectors

ROWS = 4096
"""Rows of a pass that makes several draws at once; more of them need more memory and save nothing."""


class BenchFamily(FamilyModule):
    """An equation on a hidden state, of images, vectors or series, that answers for each input by itself.

    Args:
        spec: What the data set publishes; the command line fills it in.
        make: The family's equation: makes its dynamics for a `Stage`.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        downsample: Number of halvings in the stem for images; by default as many as bring the side to 8
            pixels or fewer.
        head: Norm of the head for images and where it stands, by default batch norm of the means over space.
        noise: Noise that regularises the dynamics, such as `StochasticDepth`; none by default.
        optimizer: Makes the optimiser from the parameters; default Adam with lr 1e-3.
        lr_scheduler: Makes the learning-rate schedule from the optimiser.
        lr_scheduler_interval: Whether it takes a step each `epoch` or each `step`; by default what it is made
            for: each step with OneCycleLR and CyclicLR, else each epoch.
        metrics: Metrics beside those of the task, of torchmetrics or of your own, called as
            `update(said, target)`.
        metric_directions: Whether `larger`, `smaller` or `neither` is better, by the metric's name, where its
            class does not say so by `higher_is_better`.
        layout: What surrounds the dynamics; by default the bench that all families share on such inputs.
        field: Class of the residual function or vector field, a module called as `field(t, h)`; by default
            that of the layout. Its constructor is told `channels`, `out_channels` and `time_dependent` where
            it has such parameters.

    Raises:
        UsageError: The data set asks what no such family answers, the layout is for other inputs, a number
            of channels or halvings is out of range, or the family has no place for the field.
    """

    takes: ClassVar[tuple[type[Spec], ...]] = (ImageSpec, VectorSpec, SeriesSpec)
    staged: ClassVar[bool] = True
    """Whether it may stand between the blocks that a layout has of its own."""

    def __init__(
        self,
        spec: Spec,
        make: DynamicsMaker,
        channels: int | None,
        downsample: int | None = None,
        head: ReadOut | None = None,
        noise: Noise | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Interval | None = None,
        layout: Bench | None = None,
        field: FieldMaker | None = None,
        metrics: Sequence[Metric] | None = None,
        metric_directions: dict[str, Direction] | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler, lr_scheduler_interval, metrics, metric_directions)
        shared = {k: v for k, v in {"downsample": downsample, "head": head}.items() if v is not None}
        bench = layout or shared_bench(spec, **shared)
        if layout is not None and shared:
            option = next(iter(shared))
            raise UsageError(f"{option} belongs to the shared layout", f"set one of {option} and layout")
        if bench.transitions and not self.staged:
            raise UsageError(
                f"{type(self).__name__} has no other layout: {type(bench).__name__} has blocks of its own",
                "leave model.layout out",
            )
        bench.check(spec)
        own = None if field is None else OwnFields(field)
        self.net = bench.assemble(spec, bench.width(spec, channels), _with(own, make), self.outputs)
        if own is not None and not own.made:
            raise UsageError(
                f"{type(self).__name__} has layers of its own in place of a field",
                "leave model.field out, or choose a family such as NeuralODE or ResNet",
            )
        # a copy, because noise belongs to one network: it may hold weights, and it enters the dynamics
        self.noise = copy.deepcopy(noise)
        if self.noise is not None:
            self.noise.attach(self.net.dynamics, type(self).__name__)
            self.stochastic = self.stochastic or self.noise.stochastic

    def forward(self, x: Tensor | Series, times: Tensor | None = None) -> Tensor:
        """Outputs of shape (batch, outputs), such as logits; or values (batch, n, channels) of a forecast.

        Args:
            x: Inputs, shape (batch, …), or a batch of series.
            times: Times to forecast, shape (batch, n), float64.
        """
        return self.evaluate(x, times)[0]

    def evaluate(self, x: Tensor | Series, times: Tensor | None = None) -> tuple[Tensor, list[SolveStats]]:
        """What `passes` passes say, averaged or pooled as draws by the task; and the account of each."""
        check_inputs(x, self.spec)
        number = self.passes
        passes = [self._accounted(x, times) for _ in range(number)]
        solves = [stats for _, stats in passes]
        if number == 1:
            return passes[0][0], solves
        said = [part for part, _ in passes]
        if self.pools:
            return self.task.pool(torch.stack(said)), solves
        return sum(said[1:], said[0]) / number, solves

    @property
    def components(self) -> int | None:
        """One, or as many as one asks for where evaluation is noisy; see `FamilyModule.components`."""
        return None if self.noise is not None and self.noise.draws_in_evaluation else 1

    def draws(
        self, x: Tensor | Series, count: int, times: Tensor | None = None
    ) -> tuple[Tensor, list[SolveStats]]:
        """Draws of single passes, several rows of one pass each; see `FamilyModule.draws`."""
        check_inputs(x, self.spec)
        count = count if self.components is None else 1
        at_once = max(1, min(count, ROWS // max(1, len(x)))) if self.rows_differ else 1
        drawn, solves = [], []
        for first in range(0, count, at_once):
            number = min(at_once, count - first)
            rows = torch.arange(len(x), device=self.device).repeat(number)
            said, stats = self._accounted(x[rows], None if times is None else times[rows])
            drawn.append(said.view(number, len(x), *said.shape[1:]))
            solves += [stats] * number
        return torch.cat(drawn), solves

    def _accounted(self, x: Tensor | Series, times: Tensor | None) -> tuple[Tensor, SolveStats]:
        """What one pass says, and its account with the samples that failed."""
        said, solution = self._pass(x, times)
        if solution.failed is not None:
            solution.stats.failures += int(solution.failed.sum())
        return said, solution.stats

    def _pass(self, x: Tensor | Series, times: Tensor | None) -> tuple[Tensor, Solution]:
        """What one pass says, and its solve."""
        said: tuple[Tensor, Solution]
        if not isinstance(x, Series):
            said = self.net(x)
            return said
        assert isinstance(self.spec, SeriesSpec)
        x = x.map_values(next(self.parameters()).dtype)
        if times is None:
            said = self.net(x)
            return said
        common = self.spec.autonomous and not self.spec.irregular
        return self.net.forecast(x, times, common or self.net.dynamics.reaches != "own")

    @property
    def pools(self) -> bool:
        """Whether the task pools passes as equally likely draws; otherwise their outputs are averaged."""
        return self.noise is not None and self.noise.pools

    @property
    def rows_differ(self) -> bool:
        """Whether each row of a noisy pass draws for itself, so that one pass can make several draws."""
        return True

    @property
    def outputs(self) -> int:
        """Numbers that the network says about one input."""
        return self.task.outputs

    @property
    def passes(self) -> int:
        """Passes through the network that one prediction averages, in the present mode."""
        return 1 if self.noise is None else self.noise.passes

    def step(self, batch: tuple[Any, Any], stage: str) -> Outcome:
        """The task's loss of a batch (inputs, what is asked), in training with `penalty` as further terms."""
        rated = _asks_rates(batch)
        outcome = self._rated(batch) if rated else self.respond(batch)
        said, target = outcome.prediction, outcome.target
        assert said is not None
        assert target is not None
        outcome.terms = {"loss": self.task.loss(said, target)}
        if stage == "train":
            outcome.terms |= self.penalty()
        # metrics are those of values
        outcome.prediction = None if rated else said.detach()
        return outcome

    def respond(self, batch: Any) -> Outcome:
        """See `FamilyModule.respond`; a batch is inputs alone, or inputs and what is asked about them."""
        x, asked = (*batch, None)[:2] if isinstance(batch, list | tuple) else (batch, None)
        if isinstance(asked, Query):
            said, solves = self.evaluate(x, asked.times)
            return Outcome({}, len(x), {}, said, asked.truth, solves, x, asked.times)
        said, solves = self.evaluate(x)
        return Outcome({}, len(x), {}, said, asked, solves, x)

    def _rated(self, batch: tuple[Series, Query]) -> Outcome:
        """The rates that the field gives at the observations, beside the true ones."""
        x, query = batch
        check_inputs(x, self.spec)
        said, stats = self.net.rate(x.map_values(next(self.parameters()).dtype))
        return Outcome({}, len(x), {}, said, query.rates, [stats])

    def shards(self) -> list[nn.Module]:
        """The whole network, and each block by itself where a pass evaluates every one of them once."""
        blocks: list[nn.Module] = []
        # noise may skip a block on one process alone, and a penalty reads weights outside of a forward pass
        if self.noise is None and type(self).penalty is FamilyModule.penalty:
            for stage in stages_of(self.net.dynamics):
                if stage.composition in ("linear", "stages") and not stage.repeats:
                    blocks += stage.residuals()
        return [*blocks, self.net]

    def trajectory(self, x: Tensor, num_times: int = 33) -> tuple[Tensor, Tensor]:
        """Times (n_t,) and hidden states (n_t, batch, channels, …) for figures."""
        solution: Solution = self.net.trajectory(x, num_times)
        return solution.ts, solution.ys

    def vector_field(self) -> VectorField | None:
        """The field of an equation whose state is what is observed; None elsewhere."""
        return self.net.vector_field()

    def describe_solver(self) -> tuple[str, str]:
        """Solver and gradient mode in a few words."""
        solver = self.net.dynamics.solver
        return (solver.describe(), getattr(solver, "gradient", "backprop")) if solver else ("", "")


def _with(own: OwnFields | None, make: DynamicsMaker) -> DynamicsMaker:
    """The family's equation, made with fields of one's own."""
    return make if own is None else lambda stage: make(replace(stage, make=own))


def shared_bench(spec: Spec, **options: Any) -> Bench:
    """The bench that all families share on inputs of this kind.

    Args:
        spec: What the data set publishes.
        options: Arguments of `SharedLayout`, which is for images.

    Raises:
        UsageError: The inputs are no images, and an option is given.
    """
    if isinstance(spec, ImageSpec):
        return SharedLayout(**options)
    for option in options:
        raise UsageError(f"{option} belongs to images", f"leave model.{option} out")
    return shared_series(spec) if isinstance(spec, SeriesSpec) else SharedVectors()


def _asks_rates(batch: tuple[Any, Any]) -> bool:
    return isinstance(batch[1], Query) and batch[1].rates is not None
